"""The registry refuses wrong Losses and Implementations before they compute anything."""

import inspect
from dataclasses import replace

import pytest
import torch
from torch import nn

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.impls.catalogue import LossOnly
from lossbench.impls.registry import register
from lossbench.impls.state import CentersAndWeights, ClassCenters
from tests.conftest import name_of, supported

ARCFACE = "num_classes, embedding_dim, scale, margin"

pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.mark.parametrize(
    ("loss", "variant", "message"),
    [
        ("island", "vectorized", "island: the variant 'vectorized' is registered already"),
        ("iceland", "mine", "unknown loss 'iceland'; the losses are: softmax, "),
        ("island", "", "island: a variant's name has letters, digits and _ . - only.*got ''"),
        ("island", "my own", "got 'my own'"),
        ("island", "fused+mine", r"got 'fused\+mine'"),
        ("island", "mine[fast]", r"got 'mine\[fast\]'"),
        ("island", "auto", "is not 'auto'; got 'auto'"),
        ("island", None, "island: a variant's name .*got None"),
    ],
)
def test_a_name_that_cannot_be_is_refused(loss, variant, message):
    with pytest.raises(ValueError, match=message):
        register(loss, variant)(impls.implementation("island", "vectorized").builder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": ("gpu",)}, "arcface mine: unknown device 'gpu'; the devices are: cpu, cuda"),
        ({"devices": ()}, r"devices must be a tuple of cpu, cuda, got \(\)"),
        ({"devices": "cpu"}, "arcface mine: devices must be a tuple of cpu, cuda, got 'cpu'"),
        ({"dtypes": ("float32",)}, "unknown dtype 'float32'; the dtypes are: torch.float16, "),
        ({"dtypes": (torch.int8,)}, "arcface mine: unknown dtype torch.int8"),
        ({"dtypes": torch.float32}, "dtypes must be a tuple of torch.float16, .* got torch.float"),
        ({"devices": 1}, "arcface mine: devices must be a tuple of cpu, cuda, got 1"),
        ({"leaves_out": ("scores",)}, "unknown output 'scores'; the outputs are: logits"),
        ({"leaves_out": ("loss",)}, "unknown output 'loss'; the outputs are: logits"),
        ({"leaves_out": "logits"}, "outputs must be a tuple of logits, got 'logits'"),
        ({"requires": "numpy"}, "requires must be a tuple of package names, got 'numpy'"),
        ({"requires": (1,)}, r"arcface mine: requires must be a tuple .*, got \(1,\)"),
        ({"since": "2.11"}, r"arcface mine: since must be a release .* as \(2, 11\), got '2.11'"),
        ({"since": (2,)}, r"got \(2,\)"),
    ],
)
def test_what_it_could_not_run_on_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        register("arcface", "mine", **options)(impls.implementation("arcface", "fused").builder)


def without_margin(num_classes, embedding_dim, scale):
    """Omit an argument."""


def with_typo(num_classes, embedding_dim, scale, marigin):
    """Accept an argument under another name."""


def swapped(embedding_dim, num_classes, scale, margin):
    """Accept the arguments in another order."""


def other_default(num_classes, embedding_dim, scale=32, margin=0.4):
    """Have a default that differs from the reference's."""


def with_a_default_for_a_size(num_classes=10, embedding_dim=2, scale=32, margin=0.5):
    """Have a default for an argument without one in the reference."""


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (without_margin, f"the loss's arguments, {ARCFACE}; it takes num_classes, embedding_dim, "),
        (with_typo, "scale, marigin"),
        (swapped, "it takes embedding_dim, num_classes, scale"),
        (other_default, "margin is 0.4 by default, the reference's is 0.5"),
        (with_a_default_for_a_size, "num_classes is 10 by default, the reference's has none"),
        (nn.ReLU, "it takes inplace"),
        (type("Bare", (nn.Module,), {}), "it takes none"),
        (dict.fromkeys, "it takes "),
        (max, "it takes none"),
        (dict, "expected an nn.Module class or a function .*, got <class 'dict'>"),
        (3, "expected an nn.Module class .*, got 3"),
    ],
)
def test_a_builder_with_other_arguments_is_refused(builder, message):
    with pytest.raises(ValueError, match=f"arcface mine: .*{message}"):
        register("arcface", "mine")(builder)


def test_a_package_within_a_missing_one_is_missing():
    register("arcface", "mine", requires=("not_there.inner",))(
        impls.implementation("arcface", "fused").builder
    )
    reason = impls.implementation("arcface", "mine").unsupported("cpu", torch.float32)
    assert reason == "needs the package not_there.inner, which is not installed"


def test_a_builder_that_takes_any_argument_is_entered():
    @register("arcface", "mine")
    def build(num_classes, **rest):
        return impls.loss("arcface").reference(num_classes, **rest)

    assert impls.implementation("arcface", "mine").build(num_classes=3, embedding_dim=2)


class Renamed(nn.Module):
    def __init__(self, num_classes, embedding_dim):
        super().__init__()
        self.centres = nn.Parameter(torch.empty(num_classes, embedding_dim))


class Transposed(nn.Module):
    def __init__(self, num_classes, embedding_dim):
        super().__init__()
        self.centers = nn.Parameter(torch.empty(embedding_dim, num_classes))


class Counting(ClassCenters):
    def __init__(self, num_classes, embedding_dim):
        super().__init__(num_classes, embedding_dim)
        self.register_buffer("calls", torch.zeros(()))


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (Renamed, r"parameters in its order, centers \[3, 2\]; got centres \[3, 2\]"),
        (Transposed, r"centers \[3, 2\]; got centers \[2, 3\]"),
        (Counting, r"the reference's buffers, none; got calls \[\]"),
    ],
)
def test_a_state_that_is_not_the_references_is_refused(builder, message):
    with pytest.raises(ValueError, match=f"center_mse mine: .*{message}"):
        register("center_mse", "mine")(builder)
    assert "mine" not in [each.variant for each in impls.implementations("center_mse")]
    register("center_mse", "mine", requires=("torch",))(builder)
    with pytest.raises(ValueError, match=f"center_mse mine: .*{message}"):
        impls.implementation("center_mse", "mine").build(num_classes=3, embedding_dim=2)


def test_what_a_builder_returns_is_a_module():
    def build(margin):
        """Return no module."""

    with pytest.raises(ValueError, match=r"contrastive mine: .* an nn\.Module, got None"):
        register("contrastive", "mine")(build)


def test_a_builder_that_takes_larger_sizes_only_is_entered():
    @register("center_mse", "mine")
    def build(num_classes, embedding_dim):
        if embedding_dim % 8:
            raise ValueError(f"embedding_dim must be a multiple of 8, got {embedding_dim}")
        return impls.loss("center_mse").reference(num_classes, embedding_dim)

    assert impls.implementation("center_mse", "mine").build(num_classes=3, embedding_dim=8)


def test_registering_draws_no_random_number():
    before = torch.get_rng_state()
    register("center_mse", "mine")(impls.loss("center_mse").reference)
    assert torch.equal(torch.get_rng_state(), before)


class Reordered(CentersAndWeights):
    def __init__(self, num_classes, embedding_dim, center_weight):
        super().__init__(num_classes, embedding_dim, center_weight)
        centers = self.centers
        del self.centers
        self.centers = centers


def test_parameters_in_another_order_are_refused():
    with pytest.raises(
        ValueError, match=r"softmax_center_unsquared mine: .*got weight .*, centers"
    ):
        register("softmax_center_unsquared", "mine")(Reordered)


@pytest.mark.parametrize("implementation", supported(), ids=name_of)
def test_every_implementation_has_the_references_state(implementation):
    implementation.verify()


@pytest.mark.parametrize(
    "implementation", [i for i in supported() if i.loss.has_classes], ids=name_of
)
def test_an_optimizer_goes_on_in_another_variant(implementation):
    """Adam's moments follow the order of the parameters, so another order would exchange them."""
    arguments = Case(implementation.loss.name, batch=8, dim=4, classes=5).arguments
    reference = implementation.loss.reference(**arguments)
    module = implementation.build(**arguments)
    moments = {}
    for number, (name, parameter) in enumerate(reference.named_parameters(), 1):
        parameter.grad = torch.full_like(parameter, number)
        moments[name] = 0.1 * parameter.grad
    given = torch.optim.Adam(reference.parameters())
    given.step()
    taken = torch.optim.Adam(module.parameters())
    taken.load_state_dict(given.state_dict())
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(taken.state[parameter]["exp_avg"], moments[name])


class Mine(nn.Module):
    def __init__(self, margin: float = 0.5):
        super().__init__()
        self.margin = margin

    def forward(self, embeddings, labels):
        return LossOnly(embeddings.sum() * self.margin + labels.sum())


def a_loss(**changes):
    return replace(impls.loss("center_mse"), **{"name": "mine", "reference": Mine, **changes})


def test_a_loss_from_outside_is_entered_with_its_reference():
    assert impls.register_loss(a_loss()).name == "mine"
    assert impls.losses()[-1].name == "mine"
    (reference,) = impls.implementations("mine")
    module = reference.build(margin=2.0)
    out = module(embeddings=torch.ones(3, 2), labels=torch.zeros(3, dtype=torch.int64))
    assert out.loss.item() == 12


class Untyped(Mine):
    def __init__(self, margin=0.5):
        super().__init__(margin)


class WithoutDefault(Mine):
    def __init__(self, margin: float):
        super().__init__(margin)


class OtherInputs(Mine):
    def forward(self, x, y):
        return super().forward(x, y)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "island"}, "the loss 'island' is registered already"),
        ({"name": "My loss"}, "lower case as in 'center_mse', got 'My loss'"),
        ({"name": "mine+"}, r"got 'mine\+'"),
        ({"reference": len}, "mine: reference must be an nn.Module class"),
        ({"reference": Untyped}, "mine: argument 'margin' must be annotated bool, int or float"),
        ({"reference": WithoutDefault}, "mine: argument 'margin' needs a default, as all but num"),
        ({"reference": OtherInputs}, "mine: forward must take embeddings, labels, takes x, y"),
        ({"inputs": "triples"}, "mine: inputs must be labelled, pairs, .* got 'triples'"),
        ({"output": torch.Tensor}, "mine: output must be a NamedTuple class"),
    ],
)
def test_a_loss_that_no_case_could_run_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        impls.register_loss(a_loss(**changes))


def test_annotations_may_be_postponed():
    class Postponed(Mine):
        def __init__(self, margin: "float" = 0.5):
            super().__init__(margin)

    impls.register_loss(a_loss(reference=Postponed))
    assert impls.implementation("mine", "reference").build(margin=1.5).margin == 1.5


def test_the_registry_knows_no_builder_that_hides_its_arguments():
    """``**kwargs`` accepts arguments that the Loss no longer has, so each builder names its own."""
    for implementation in supported():
        kinds = [p.kind for p in inspect.signature(implementation.builder).parameters.values()]
        hides = inspect.Parameter.VAR_KEYWORD in kinds and implementation.loss.arguments
        assert not hides, name_of(implementation)
