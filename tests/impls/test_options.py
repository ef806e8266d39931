"""``F.cross_entropy``'s options: in the references as it has them, in every variant as there."""

import copy
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lossbench import impls
from lossbench.impls.catalogue import EntropyOptions
from lossbench.impls.options import OPTIONS
from tests.conftest import name_of

BATCH, DIM, CLASSES = 12, 8, 5
# So many that the fused variants go by tiles of classes, at few dimensions to be quick.
MANY = 90_000
ENTROPIES = [loss for loss in impls.losses() if loss.takes_options]
TAKING = [
    implementation
    for loss in ENTROPIES
    for implementation in impls.implementations(loss.name)
    if implementation.takes_options and not implementation.mode
]
REFUSING = [
    implementation
    for loss in impls.losses()
    for implementation in impls.implementations(loss.name)
    if not implementation.takes_options and not implementation.mode
]
CONTENDERS = [i for i in TAKING if i.variant != "reference"]
WEIGHTS = [2.0, 0.0, 0.5, 1.0, 3.0]
VALUES = {
    "ignore_index": (None, -100, 3),
    "label_smoothing": (0, 0.1, 1),
    "class_weights": (None, WEIGHTS),
    "reduction": ("mean", "sum", "none"),
}
COMBINED = [
    dict(zip(VALUES, values, strict=True)) for values in itertools.product(*VALUES.values())
]
EVERY_OPTION = pytest.mark.parametrize(
    "options", COMBINED, ids=lambda options: "-".join(str(v) for v in options.values())
)


def head(implementation, classes=CLASSES, **arguments):
    torch.manual_seed(0)
    return implementation.build(num_classes=classes, embedding_dim=DIM, **arguments).double()


def batch(ignored=None, classes=CLASSES):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.randint(classes, (BATCH,), generator=generator)
    if ignored is not None:
        labels[[2, 5]] = ignored
    return x, labels


def outcome(module, x, labels):
    """Return the loss, and the gradients of a sum of different factors of its samples'."""
    loss = module(x, labels).loss
    factors = torch.linspace(0.5, 2, loss.numel(), dtype=loss.dtype).view(loss.shape)
    gradients = torch.autograd.grad((loss * factors).sum(), (x, module.weight))
    return loss.detach(), *gradients


def other(implementation):
    return impls.implementation(implementation.loss.name, "reference")


@pytest.mark.parametrize("loss", ENTROPIES, ids=lambda loss: loss.name)
@EVERY_OPTION
def test_a_reference_is_torchs_cross_entropy_over_its_logits(loss, options):
    module = head(impls.implementation(loss.name, "reference"), **options)
    x, labels = batch(options["ignore_index"])
    out = module(x, labels)
    logits = out.logits * (16 if loss.name == "normface" else 1)
    asked = {"ignore_index": -100, **{k: v for k, v in options.items() if v is not None}}
    if options["class_weights"]:
        asked["weight"] = torch.tensor(asked.pop("class_weights"), dtype=torch.float64)
    expected = F.cross_entropy(logits, labels, **asked)
    torch.testing.assert_close(out.loss, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("implementation", CONTENDERS, ids=name_of)
@EVERY_OPTION
def test_every_variant_is_its_reference(implementation, options):
    x, labels = batch(options["ignore_index"])
    expected = outcome(head(other(implementation), **options), x, labels)
    given = outcome(head(implementation, **options), x, labels)
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "implementation", [i for i in CONTENDERS if "logits" in i.outputs], ids=name_of
)
@pytest.mark.parametrize("options", [{"ignore_index": -100}, {}], ids=str)
def test_logits_are_the_references_and_those_left_out_have_no_margin(implementation, options):
    x, labels = batch(options.get("ignore_index"))
    given = head(implementation, **options)(x, labels).logits
    module = head(other(implementation), **options)
    torch.testing.assert_close(given, module(x, labels).logits, rtol=1e-9, atol=1e-9)
    if options and implementation.loss.name != "normface":
        torch.testing.assert_close(given[2], module.logits(x)[2], rtol=1e-9, atol=1e-9)


MANY_OPTIONS = [
    {"ignore_index": -100},
    {"ignore_index": -100, "reduction": "sum"},
    {"ignore_index": 7, "reduction": "none"},
    {"class_weights": "every third is 0"},
    {"class_weights": "every third is 0", "ignore_index": -100, "reduction": "none"},
    {"class_weights": "every third is 0", "reduction": "sum"},
    {"label_smoothing": 0.1, "ignore_index": -100, "class_weights": "every third is 0"},
]


@pytest.mark.parametrize(
    "implementation", [i for i in CONTENDERS if i.variant == "fused"], ids=name_of
)
@pytest.mark.parametrize("options", MANY_OPTIONS, ids=str)
def test_so_it_is_by_tiles_of_classes(implementation, options):
    options = dict(options)
    if "class_weights" in options:
        options["class_weights"] = (torch.arange(MANY) % 3).float()
    x, labels = batch(options.get("ignore_index"), classes=MANY)
    expected = outcome(head(other(implementation), MANY, **options), x, labels)
    given = outcome(head(implementation, MANY, **options), x, labels)
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("implementation", TAKING, ids=name_of)
@pytest.mark.parametrize("classes", [CLASSES, MANY])
@pytest.mark.parametrize(
    ("reduction", "expected"), [("mean", torch.nan), ("sum", 0), ("none", [0] * BATCH)]
)
def test_a_batch_all_left_out_is_as_torchs(implementation, classes, reduction, expected):
    module = head(implementation, classes, ignore_index=-100, reduction=reduction)
    x, labels = batch()
    loss, *gradients = outcome(module, x, labels.fill_(-100))
    wanted = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(loss, wanted, equal_nan=True)
    for gradient in gradients:
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("implementation", [i for i in TAKING if i.loss.name == "sphereface"])
@EVERY_OPTION
def test_the_focal_factor_is_of_the_targets_probability(implementation, options):
    module = head(implementation, gamma=1.5, **options)
    x, labels = batch(options["ignore_index"])
    logits = head(other(implementation), **{**options, "reduction": "none"})(x, labels).logits
    plain = head(other(implementation), **{**options, "reduction": "none"})(x, labels).loss
    kept = labels != options["ignore_index"] if options["ignore_index"] else labels >= 0
    targets = labels.where(kept, 0)
    miss = 1 - logits.softmax(1).gather(1, targets[:, None])[:, 0]
    losses = plain * miss**1.5
    weights = torch.tensor(options["class_weights"] or [1.0] * CLASSES, dtype=torch.float64)
    total = {"mean": lambda: losses.sum() / (weights[targets] * kept).sum(), "sum": losses.sum}
    expected = total.get(options["reduction"], lambda: losses)()
    torch.testing.assert_close(module(x, labels).loss, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("implementation", CONTENDERS, ids=name_of)
def test_float32_is_as_near_as_the_reference(implementation):
    options = {"ignore_index": -100, "label_smoothing": 0.1, "class_weights": WEIGHTS}
    x, labels = batch(-100)
    exact = head(other(implementation), **options)(x, labels).loss
    given = head(implementation, **options).float()(x.detach().float(), labels).loss
    assert given.dtype == torch.float32
    torch.testing.assert_close(given.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("implementation", REFUSING, ids=name_of)
@pytest.mark.parametrize("name", OPTIONS)
def test_who_takes_no_options_says_so(implementation, name):
    arguments = {
        n: 4 for n in ("num_classes", "embedding_dim") if n in implementation.loss.arguments
    }
    value = {"ignore_index": -100, "label_smoothing": 0.1, "class_weights": [1] * 4}.get(
        name, "sum"
    )
    message = f"takes no {name}; the variant 'reference' does"
    if not implementation.loss.takes_options:
        message = f"unknown argument '{name}'"
    with pytest.raises(ValueError, match=message):
        implementation.build(**arguments, **{name: value})


@pytest.mark.parametrize("name", OPTIONS)
def test_the_defaults_are_no_options(name):
    for implementation in impls.implementations("softmax"):
        if implementation.unsupported("cpu", torch.float32) is None:
            implementation.build(num_classes=3, embedding_dim=2, **{name: OPTIONS[name].default})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore_index": 1.0}, "softmax: ignore_index must be int or None, got 1.0"),
        ({"ignore_index": True}, "ignore_index must be int or None, got True"),
        ({"label_smoothing": 1.1}, "label_smoothing must be a number from 0 to 1, got 1.1"),
        ({"label_smoothing": float("nan")}, "a number from 0 to 1, got nan"),
        ({"label_smoothing": "0.1"}, "a number from 0 to 1, got '0.1'"),
        ({"class_weights": [1, 2]}, r"a list of 5 numbers of 0 or more, got shape \[2\]"),
        ({"class_weights": torch.ones(5, 1)}, r"got shape \[5, 1\]"),
        ({"class_weights": [1, 2, 3, 4, -0.5]}, "class_weights must be .* or more, got -0.5"),
        ({"class_weights": [1, 2, 3, 4, float("nan")]}, "or more, got nan"),
        ({"class_weights": "heavy"}, "or more, got str"),
        ({"reduction": "avg"}, "reduction must be one of mean, sum, none, got 'avg'"),
        ({"reduction": ["sum"]}, r"got \['sum'\]"),
        ({"smoothing": 0.1}, "unknown argument 'smoothing'; it takes: .*, ignore_index, label_sm"),
    ],
)
@pytest.mark.parametrize("variant", ["auto", "reference", "fused"])
def test_an_option_that_cannot_be_is_told_in_a_line(variant, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        impls.build("softmax", variant, num_classes=CLASSES, embedding_dim=DIM, **options)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("implementation", TAKING, ids=name_of)
def test_nothing_is_left_out_unless_asked_for(implementation):
    x, labels = batch(-100)
    with pytest.raises(ValueError, match="got -100; ignore_index=-100 leaves them out"):
        head(implementation)(x, labels)
    labels[0] = -1
    with pytest.raises(ValueError, match="from 0 to 4, got -1"):
        head(implementation, ignore_index=-100)(x, labels)


@pytest.mark.parametrize("implementation", TAKING, ids=name_of)
def test_is_no_part_of_the_state_and_goes_with_a_copy(implementation):
    options = {"ignore_index": -100, "class_weights": WEIGHTS, "reduction": "sum"}
    module = head(implementation, **options)
    assert module.state_dict().keys() == head(implementation).state_dict().keys()
    x, labels = batch(-100)
    twins = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    expected = module(x, labels).loss
    for twin in twins:
        assert torch.equal(twin(x, labels).loss, expected)


@pytest.mark.parametrize("loss", ["softmax", "arcface", "sphereface"])
@pytest.mark.parametrize("variant", ["vectorized", "fused"])
def test_compiles_as_one_graph_and_exports(loss, variant):
    options = {"ignore_index": -100, "label_smoothing": 0.1, "class_weights": WEIGHTS}
    eager, other = (head(impls.implementation(loss, variant), **options) for _ in range(2))
    x, labels = batch(-100)
    torch.compiler.reset()
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, labels).loss, eager(x, labels).loss)
    labels[0] = -7
    with pytest.raises((RuntimeError, IndexError)):
        compiled(x, labels)
    exported = torch.export.export(
        head(impls.implementation(loss, variant), **options), batch(-100)
    )
    again = head(impls.implementation(loss, variant), **options)(*batch(-100)).loss
    torch.testing.assert_close(exported.module()(*batch(-100))[0], again)


@pytest.mark.parametrize("variant", ["vectorized+compile", "fused+compile"])
def test_a_compiled_variant_is_its_reference(variant):
    implementation = impls.implementation("arcface", variant)
    reason = implementation.unsupported("cpu", torch.float32)
    if reason:
        pytest.skip(reason)
    options = {"ignore_index": -100, "label_smoothing": 0.1, "class_weights": WEIGHTS}
    torch.compiler.reset()
    for reduction in ("mean", "none"):
        asked = {**options, "reduction": reduction}
        x, labels = batch(-100)
        expected = outcome(head(other(implementation), **asked), x, labels)
        given = outcome(head(implementation, **asked), x, labels)
        torch.testing.assert_close(given, expected, rtol=1e-8, atol=1e-8)


class Operators(TorchDispatchMode):
    """Note the operators that are called in the block."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_the_defaults_cost_no_operator():
    defaults, logits = EntropyOptions(), torch.randn(BATCH, CLASSES)
    losses, labels = torch.rand(BATCH), torch.arange(BATCH) % CLASSES
    with Operators() as without:
        assert defaults.targets(labels) is labels
        assert defaults.weigh(losses, labels) is losses
        assert defaults.where_kept(labels, losses, None) is losses
        assert defaults.sample_weights(labels, torch.float32) is None
    assert without.names == []
    with Operators() as expected:
        F.cross_entropy(logits, labels)
    with Operators() as given:
        defaults.cross_entropy(logits, labels)
    assert given.names == expected.names


@pytest.mark.parametrize("implementation", TAKING, ids=name_of)
@pytest.mark.parametrize("classes", [CLASSES, MANY])
def test_an_option_that_is_not_given_adds_no_operator(implementation, classes):
    x, labels = batch(classes=classes)
    called = []
    for options in ({}, {"reduction": "sum"}, {"ignore_index": -100}):
        module = head(implementation, classes, **options)
        with Operators() as operators:
            module(x, labels).loss.backward()
        called.append(len(operators.names))
    default, total, ignoring = called
    assert default <= total + 2  # a mean and its share are two operators at the most
    assert default <= ignoring
