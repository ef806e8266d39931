"""The promises of every implementation; each that is registered is tested without more code."""

import copy
import inspect
import re

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload, trainable
from lossbench.bench.measure.agreement import measure_agreement
from tests.conftest import name_of, supported

IMPLEMENTATIONS = supported()
EVERY = pytest.mark.parametrize("implementation", IMPLEMENTATIONS, ids=name_of)
EQUAL = pytest.mark.parametrize(
    "implementation", [i for i in IMPLEMENTATIONS if not i.departs], ids=name_of
)
LABELLED = pytest.mark.parametrize(
    "implementation", [i for i in IMPLEMENTATIONS if i.loss.inputs == "labelled"], ids=name_of
)


def small(implementation, **changes):
    sizes = {"batch": 12, "dim": 8, "classes": 5, **changes}
    return Case(implementation.loss.name, **sizes)


def agree(case, implementation):
    failures = [str(a) for a in measure_agreement(case, implementation) if not a.passed]
    assert not failures


@EQUAL
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("data", ["gaussian", "clustered"])
def test_agrees_with_the_oracle(implementation, dtype, data):
    reason = implementation.unsupported("cpu", getattr(torch, dtype))
    if reason:
        pytest.skip(reason)
    agree(small(implementation, dtype=dtype, data=data), implementation)


@EQUAL
def test_agrees_where_classes_outnumber_the_batch(implementation):
    agree(small(implementation, batch=6, classes=40), implementation)


@EQUAL
def test_agrees_on_a_batch_of_one(implementation):
    if implementation.loss.needs_negatives:
        pytest.skip("a batch of one has no negatives")
    agree(small(implementation, batch=1), implementation)


@EVERY
def test_returns_the_named_tuple_of_its_loss_in_the_dtype_of_its_inputs(implementation):
    workload = Workload.of(small(implementation))
    out = workload.module(implementation, validate=True)(**workload.leaves())
    assert type(out) is implementation.loss.output
    assert out[0].dtype == torch.float32
    assert out[0].shape == () or implementation.loss.kind == "distance"
    correct = getattr(out, "correct", None)
    if correct is not None:
        assert correct.shape == ()
        assert not correct.is_floating_point()


@EVERY
def test_computes_the_outputs_that_it_does_not_leave_out(implementation):
    workload = Workload.of(small(implementation))
    out = workload.module(implementation)(**workload.leaves())
    computed = tuple(n for n, v in zip(out._fields, out, strict=True) if v is not None)
    assert computed == implementation.outputs


@EQUAL
def test_exchanges_its_state_with_the_reference(implementation):
    case = small(implementation)
    module = implementation.build(**case.arguments)
    reference = impls.implementation(case.loss, "reference").build(**case.arguments)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in reference.state_dict().items()}
    reference.load_state_dict(module.state_dict())
    module.load_state_dict(reference.state_dict())
    names = {name for name, _ in module.named_parameters()}
    assert names == {name for name, _ in reference.named_parameters()}


@EVERY
def test_starts_as_the_reference_does_under_one_seed(implementation):
    arguments = small(implementation).arguments
    torch.manual_seed(7)
    started = implementation.build(**arguments).state_dict()
    torch.manual_seed(7)
    reference = implementation.loss.reference(**arguments).state_dict()
    for name, tensor in reference.items():
        assert torch.equal(started[name], tensor)


@EQUAL
def test_takes_non_contiguous_inputs(implementation):
    workload = Workload.of(small(implementation))
    module = workload.module(implementation, validate=True)
    expected = module(**workload.inputs[0])[0]
    workload.reset(module)
    strided = {
        name: torch.stack((tensor, tensor), dim=-1)[..., 0]
        for name, tensor in workload.inputs[0].items()
    }
    assert not any(tensor.is_contiguous() for tensor in strided.values())
    torch.testing.assert_close(module(**strided)[0], expected)


@LABELLED
def test_takes_int32_labels(implementation):
    workload = Workload.of(small(implementation))
    module = workload.module(implementation, validate=True)
    embeddings, labels = workload.inputs[0].values()
    expected = module(embeddings=embeddings, labels=labels)[0]
    workload.reset(module)
    assert torch.equal(module(embeddings=embeddings, labels=labels.int())[0], expected)


@EVERY
def test_survives_a_deep_copy_and_a_change_of_dtype(implementation):
    if implementation.unsupported("cpu", torch.float64):
        pytest.skip("no float64")
    workload = Workload.of(small(implementation, dtype="float64"))
    module = workload.module(implementation)
    expected = workload.step(module).outputs
    workload.reset(module)
    twin = copy.deepcopy(module)
    given = workload.step(twin).outputs
    torch.testing.assert_close(next(iter(given.values())), next(iter(expected.values())))


def refuses(implementation, message, **inputs):
    workload = Workload.of(small(implementation))
    module = workload.module(implementation, validate=True)
    with pytest.raises(ValueError, match=message):
        module(**{**workload.inputs[0], **inputs})


@EVERY
def test_refuses_unknown_and_missing_inputs(implementation):
    refuses(implementation, "unknown input 'lables'", lables=torch.zeros(12))
    module = implementation.build(**small(implementation).arguments)
    with pytest.raises(ValueError, match="expected the inputs"):
        module()


@EVERY
def test_refuses_wrong_shapes_and_dtypes(implementation):
    first, second = implementation.loss.input_names[:2]
    refuses(implementation, f"{first} must be floating", **{first: torch.zeros(12, 8).long()})
    refuses(implementation, f"{second} must be", **{second: torch.zeros(11, 7)})
    refuses(implementation, f"{second} must be a tensor", **{second: [0] * 12})
    if implementation.loss.inputs == "pairs":
        refuses(implementation, "same must be", same=torch.ones(5))


@LABELLED
def test_refuses_labels_that_cannot_be(implementation):
    refuses(implementation, "from 0 to .*got -1", labels=torch.tensor([-1] + [0] * 11))
    refuses(implementation, "labels must be integers", labels=torch.zeros(12))
    if implementation.loss.has_classes:
        refuses(implementation, "from 0 to 4, got 5", labels=torch.tensor([5] + [0] * 11))
        refuses(implementation, r"embeddings must be \[B, 8\]", embeddings=torch.zeros(12, 9))
    if implementation.loss.needs_negatives:
        refuses(implementation, "two classes or more", labels=torch.zeros(12, dtype=torch.int64))


@EVERY
def test_refuses_unknown_missing_and_impossible_arguments(implementation):
    arguments = small(implementation).arguments
    with pytest.raises(ValueError, match="unknown argument 'marigin'"):
        implementation.build(**arguments, marigin=1)
    if implementation.loss.has_classes:
        with pytest.raises(ValueError, match="'num_classes' is missing"):
            implementation.build(embedding_dim=8)
        with pytest.raises(ValueError, match="num_classes must be from 1"):
            implementation.build(num_classes=0, embedding_dim=8)
    for name, parameter in implementation.loss.arguments.items():
        if parameter.annotation in (int, float):
            with pytest.raises(ValueError, match=f"{name} must be"):
                implementation.build(**{**arguments, name: "8"})
            with pytest.raises(ValueError, match=f"{name} must be"):
                implementation.build(**{**arguments, name: float("nan")})


def other_values(parameter):
    """A second value of each argument with a default, so that none is ignored in silence."""
    if parameter.default is inspect.Parameter.empty or parameter.name == "batch_size":
        return []
    if parameter.annotation is bool:
        return [not parameter.default]
    if parameter.name == "margin" and parameter.annotation is int:
        return [m for m in range(6) if m != parameter.default]
    return [0.5 if parameter.default != 0.5 else 0.25]


ARGUMENTS = [
    pytest.param(implementation, name, value, id=f"{name_of(implementation)}-{name}={value}")
    for implementation in IMPLEMENTATIONS
    if not implementation.departs
    for name, parameter in implementation.loss.arguments.items()
    for value in other_values(parameter)
]


@pytest.mark.parametrize(("implementation", "name", "value"), ARGUMENTS)
def test_agrees_at_other_arguments(implementation, name, value):
    workload = Workload.of(small(implementation, dtype="float64"))
    if implementation.unsupported("cpu", torch.float64):
        pytest.skip("no float64")
    arguments = {**workload.case.arguments, name: value}
    outcomes = []
    for variant in (impls.implementation(workload.case.loss, "reference"), implementation):
        module = variant.build(**arguments).double()
        workload.reset(module)
        outcomes.append(workload.step(module))
    expected, given = outcomes
    for part in ("outputs", "gradients", "state"):
        for key, tensor in getattr(given, part).items():
            wanted = getattr(expected, part)[key]
            torch.testing.assert_close(tensor, wanted, rtol=1e-9, atol=1e-9, msg=key)


def penalty_gradients(implementation, workload):
    """Return the gradients of ``loss + ‖∇loss‖²``, a gradient penalty, to all that require one."""
    module = workload.module(implementation)
    inputs = workload.leaves()
    targets = trainable(module, inputs)
    first = module(**inputs)[0].sum()
    gradients = torch.autograd.grad(first, list(targets.values()), create_graph=True)
    penalty = sum(gradient.to_dense().square().sum() for gradient in gradients)
    second = torch.autograd.grad(first + penalty, list(targets.values()))
    return {name: g.to_dense() for name, g in zip(targets, second, strict=True)}


# torch's chunked cross-entropy makes its gradients in the forward pass, and drops the penalty.
DROPS_PENALTIES = {"softmax-torch_chunked"}


@pytest.mark.parametrize(
    "implementation",
    [
        pytest.param(i, marks=pytest.mark.xfail(name_of(i) in DROPS_PENALTIES, reason="drops it"))
        for i in IMPLEMENTATIONS
        if not i.departs
    ],
    ids=name_of,
)
def test_has_the_right_second_derivative_or_refuses_it(implementation):
    if implementation.unsupported("cpu", torch.float64):
        pytest.skip("no float64")
    workload = Workload.of(small(implementation, dtype="float64"))
    reference = impls.implementation(implementation.loss.name, "reference")
    expected = penalty_gradients(reference, workload)
    refusal = ""
    try:
        given = penalty_gradients(implementation, workload)
    except RuntimeError as error:
        refusal = str(error)
    if refusal:
        assert re.search("second derivative|not differentiable|not implemented", refusal)
    else:
        torch.testing.assert_close(given, expected, rtol=1e-8, atol=1e-8)
