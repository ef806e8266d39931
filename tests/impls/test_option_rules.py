"""Options that are refused, defaults, copies, graphs, and what an option costs."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lossbench import impls
from lossbench.impls.catalogue import EntropyOptions
from lossbench.impls.options import OPTIONS
from tests.conftest import name_of
from tests.makers.options import (
    BATCH,
    CLASSES,
    DIM,
    MANY,
    REFUSING,
    TAKING,
    WEIGHTS,
    batch,
    head,
    other,
    outcome,
)


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
