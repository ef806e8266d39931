"""The papers' losses agree with cases worked by hand, plain loops and finite differences."""

import math
import operator

import pytest
import torch
from torch.func import functional_call

from lossbench import impls

VARIANTS = ("reference", "vectorized")
GRADIENT_CASES = [
    ("arcface_guarded", {"num_classes": 3, "embedding_dim": 4, "scale": 4, "margin": 0.5}),
    ("arcface_guarded", {"num_classes": 3, "embedding_dim": 4, "scale": 4, "margin": 2.5}),
    ("softmax_center", {"num_classes": 3, "embedding_dim": 4, "center_weight": 0.7}),
    ("softmax_center", {"num_classes": 3, "embedding_dim": 4, "center_rate": 0.5}),
    ("center", {"num_classes": 3, "embedding_dim": 4}),
    ("center", {"num_classes": 3, "embedding_dim": 4, "center_rate": 0.5}),
    ("triplet_weighted", {}),
    ("triplet_weighted", {"normalize": True}),
    ("contrastive", {"margin": 3.0}),
]


def build(name, variant, **arguments):
    torch.manual_seed(0)
    return impls.implementation(name, variant).build(**arguments).double()


def batch(seed=1, size=6, dim=4, classes=3):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(size, dim, dtype=torch.float64, generator=generator)
    return embeddings, torch.arange(size) % classes


def float64(rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("name", "arguments"), GRADIENT_CASES)
def test_gradient_is_that_of_finite_differences(name, variant, arguments):
    module = build(name, variant, **arguments).eval()
    embeddings, labels = batch()
    if impls.loss(name).inputs == "pairs":
        tensors, fixed = (embeddings, batch(seed=2)[0]), (labels % 2,)
    else:
        tensors, fixed = (embeddings,), (labels,)
    names = [key for key, value in module.named_parameters() if value.requires_grad]
    parameters = tuple(module.get_parameter(key).detach().clone() for key in names)

    def loss(*values):
        inputs, state = values[: len(tensors)], values[len(tensors) :]
        state = dict(zip(names, state, strict=True))
        return functional_call(module, state, (*inputs, *fixed)).loss

    leaves = [value.requires_grad_() for value in (*tensors, *parameters)]
    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize("variant", VARIANTS)
class TestCenter:
    def test_case_by_hand(self, variant):
        module = build("center", variant, num_classes=2, embedding_dim=2)
        module.load_state_dict({"centers": float64([[1, 0], [0, 0]])})
        embeddings = float64([[1, 1], [0, 2], [3, 0]]).requires_grad_()
        loss = module(embeddings, torch.tensor([0, 1, 0])).loss
        loss.backward()
        assert loss.item() == (1 + 4 + 4) / 2
        assert embeddings.grad.tolist() == [[0, 1], [0, 2], [2, 0]]
        assert module.centers.grad.tolist() == [[-2, -1], [0, -2]]

    @pytest.mark.parametrize("name", ["center", "softmax_center"])
    def test_centers_move_as_a_loop_over_classes_moves_them(self, variant, name):
        module = build(name, variant, num_classes=5, embedding_dim=4, center_rate=0.5)
        embeddings, labels = batch(size=7)
        expected = module.centers.detach().clone()
        for j in range(5):
            members = embeddings[labels == j]
            pull = sum((expected[j] - x for x in members), torch.zeros(4, dtype=torch.float64))
            expected[j] = expected[j] - 0.5 * pull / (1 + len(members))
        absent = module.centers[3:].clone()
        module(embeddings, labels)
        torch.testing.assert_close(module.centers, expected, rtol=0, atol=1e-14)
        assert torch.equal(module.centers[3:], absent)

    def test_loss_is_of_the_centers_before_they_move(self, variant):
        embeddings, labels = batch()
        still = build("center", variant, num_classes=3, embedding_dim=4)
        moving = build("center", variant, num_classes=3, embedding_dim=4, center_rate=0.5)
        assert moving(embeddings, labels).loss == still(embeddings, labels).loss
        assert moving(embeddings, labels).loss < still(embeddings, labels).loss

    def test_centers_with_a_rate_have_no_gradient(self, variant):
        module = build("center", variant, num_classes=3, embedding_dim=4, center_rate=0.5)
        embeddings, labels = batch()
        module.requires_grad_(True)
        module(embeddings.requires_grad_(), labels).loss.backward()
        assert module.centers.grad is None

    def test_centers_stay_in_evaluation(self, variant):
        module = build("center", variant, num_classes=3, embedding_dim=4, center_rate=0.5).eval()
        before = module.centers.clone()
        module(*batch())
        assert torch.equal(module.centers, before)


@pytest.mark.parametrize("name", ["center", "softmax_center"])
def test_vectorized_refuses_to_compile_centers_that_move(name):
    arguments = {"num_classes": 3, "embedding_dim": 4, "center_rate": 0.5}
    module = build(name, "vectorized", validate=False, **arguments)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    with pytest.raises(
        torch._dynamo.exc.Unsupported, match="compile is refused with a center_rate"
    ):
        compiled(*batch())


def test_fused_centres_of_all_pairs_refuse_to_be_compiled():
    sizes = {"num_classes": 3, "embedding_dim": 4}
    module = build("center_all_pairs", "fused", validate=False, **sizes)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="compile is refused: the gradient"):
        compiled(*batch())


@pytest.mark.parametrize("variant", VARIANTS)
def test_softmax_center_is_two_sums(variant):
    module = build("softmax_center", variant, num_classes=2, embedding_dim=1, center_weight=0.5)
    module.load_state_dict({"weight": float64([[1, -1]]), "centers": float64([[2], [0]])})
    loss, logits = module(float64([[1], [3]]), torch.tensor([0, 1]))
    softmax = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(6))
    assert loss.item() == pytest.approx(softmax + 0.5 / 2 * (1 + 9), rel=1e-14)
    assert logits.tolist() == [[1, -1], [3, -3]]


@pytest.mark.parametrize("variant", VARIANTS)
class TestArcFaceGuarded:
    def logits(self, variant, angles, margin=0.5, scale=8.0):
        arguments = {"num_classes": 2, "embedding_dim": 2, "scale": scale, "margin": margin}
        module = build("arcface_guarded", variant, **arguments)
        module.load_state_dict({"weight": float64([[1, 0], [0, 1]])})
        embeddings = torch.stack((torch.cos(angles), torch.sin(angles)), dim=1)
        return module(embeddings, torch.zeros(len(angles), dtype=torch.int64)).logits

    def test_both_branches_by_hand(self, variant):
        angles = [1.0, math.pi - 0.5 - 1e-3, math.pi - 0.5 + 1e-3, 3.0]
        logits = self.logits(variant, float64(angles))
        drop = 0.5 * math.sin(math.pi - 0.5)
        expected = [8 * math.cos(angle + 0.5) for angle in angles[:2]]
        expected += [8 * (math.cos(angle) - drop) for angle in angles[2:]]
        assert logits[:, 0].tolist() == pytest.approx(expected, rel=1e-12)
        assert logits[:, 1].tolist() == pytest.approx([8 * math.sin(a) for a in angles], rel=1e-9)

    @pytest.mark.parametrize("margin", [0.1, 0.5, 1.5, 2.3])
    def test_target_logit_falls_at_every_angle(self, variant, margin):
        angles = torch.linspace(0.01, math.pi - 0.01, 400, dtype=torch.float64)
        assert self.logits(variant, angles, margin)[:, 0].diff().max() < 0

    def test_is_arcface_within_the_guard(self, variant):
        arguments = {"num_classes": 3, "embedding_dim": 64}
        embeddings, labels = batch(dim=64)
        guarded = build("arcface_guarded", variant, **arguments)(embeddings, labels)
        plain = build("arcface", variant, **arguments)(embeddings, labels)
        assert torch.equal(guarded.logits, plain.logits)


def triplet_weighted_by_loops(embeddings, labels):
    """Return the loss, computed anchor by anchor; exponentials cannot overflow."""
    total = 0.0
    for anchor, label in zip(embeddings, labels, strict=True):
        distances = [max(math.dist(anchor, other), 1e-6) for other in embeddings]
        positives = [d for d, y in zip(distances, labels, strict=True) if y == label]
        negatives = [d for d, y in zip(distances, labels, strict=True) if y != label]
        up = [math.exp(d - max(positives)) for d in positives]
        down = [math.exp(min(negatives) - d) for d in negatives]
        furthest = math.fsum(map(operator.mul, up, positives)) / math.fsum(up)
        closest = math.fsum(map(operator.mul, down, negatives)) / math.fsum(down)
        x = furthest - closest
        total += max(x, 0) + math.log1p(math.exp(-abs(x)))
    return total / len(embeddings)


@pytest.mark.parametrize("variant", VARIANTS)
class TestTripletWeighted:
    def test_case_by_hand(self, variant):
        loss, correct = build("triplet_weighted", variant)(
            float64([[0], [1], [3]]), torch.tensor([0, 0, 1])
        )
        # An anchor's distance to itself is 1e-6. For distances 0 and 1 the weighted mean of the
        # positives would be e / (1 + e).
        near = (math.exp(1 - 1e-6) + 1e-6) / (1 + math.exp(1 - 1e-6))
        last = (3 * math.exp(-1) + 2) / (1 + math.exp(-1))
        margins = (near - 3, near - 2, 1e-6 - last)
        expected = sum(math.log1p(math.exp(margin)) for margin in margins) / 3
        assert loss.item() == pytest.approx(expected, rel=1e-9)
        assert correct.item() == 3

    @pytest.mark.parametrize("spread", [0.1, 1, 30, 1000])
    def test_is_a_loop_over_anchors_at_any_distance(self, variant, spread):
        embeddings, labels = batch(size=12, dim=8)
        embeddings = embeddings * spread
        loss = build("triplet_weighted", variant)(embeddings, labels).loss
        expected = triplet_weighted_by_loops(embeddings.tolist(), labels.tolist())
        assert loss.item() == pytest.approx(expected, rel=1e-12)

    def test_is_nearly_the_unshifted_one_on_unit_embeddings(self, variant):
        exact = build("triplet_weighted", variant, normalize=True)(*batch()).loss
        unshifted = build("triplet_weighted_unshifted", variant, normalize=True)(*batch()).loss
        assert exact.item() == pytest.approx(unshifted.item(), rel=1e-5)
        assert exact != unshifted


@pytest.mark.parametrize("variant", VARIANTS)
class TestContrastive:
    def test_case_by_hand(self, variant):
        x0 = float64([[3, 4], [0.6, 0.8], [3, 4], [0.6, 0.8]])
        same = torch.tensor([1, 1, 0, 0])
        loss = build("contrastive", variant, margin=2.0)(x0, torch.zeros_like(x0), same).loss
        assert loss.item() == pytest.approx((25 + 1 + 0 + 1) / 2 / 4, rel=1e-14)

    def test_one_label_serves_the_whole_batch(self, variant):
        x0, x1 = batch(1)[0], batch(2)[0]
        module = build("contrastive", variant, margin=3.0)
        one, each = torch.tensor([0]), torch.zeros(len(x0), dtype=torch.int64)
        assert module(x0, x1, one).loss == module(x0, x1, each).loss

    @pytest.mark.parametrize("same", [0, 1])
    def test_equal_embeddings_have_gradient_0(self, variant, same):
        x0 = batch()[0].requires_grad_()
        build("contrastive", variant)(x0, x0.detach(), torch.tensor([same])).loss.backward()
        assert torch.equal(x0.grad, torch.zeros_like(x0))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["center", "softmax_center"])
def test_negative_center_rate_is_refused(name, variant):
    with pytest.raises(ValueError, match=f"{name}: center_rate must be from 0 to inf, got -1"):
        build(name, variant, num_classes=2, embedding_dim=2, center_rate=-1)
