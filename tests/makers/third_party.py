"""Third parties, and how far they are from the references."""

import math

import pytest
import torch

from lossbench import impls

VARIANTS = ("pml", "torch", "torch_chunked", "otl")
# Arguments other than the document's that make a variant equal to the reference.
EQUAL_ARGUMENTS = {("sphereface", "pml"): {"lambda_min": 0, "lambda_max": 0}}

EVERY = [
    each
    for loss in impls.losses()
    for each in impls.implementations(loss.name)
    if each.variant in VARIANTS
]
EQUAL = [
    each for each in EVERY if not each.departs or (each.loss.name, each.variant) in EQUAL_ARGUMENTS
]


def skip_unless_supported(implementation, dtype=torch.float64):
    """Skip the test unless a variant runs on the CPU in a dtype."""
    reason = implementation.unsupported("cpu", dtype)
    if reason:
        pytest.skip(reason)
    needs_2_13 = implementation.loss.name == "softmax" and implementation.variant != "liger"
    if needs_2_13 and not hasattr(torch.nn.functional, "linear_cross_entropy"):
        pytest.skip(f"torch {torch.__version__} has no linear_cross_entropy")


def arguments_of(implementation, classes, dim):
    """Return the arguments that make a variant equal to its reference."""
    arguments = EQUAL_ARGUMENTS.get((implementation.loss.name, implementation.variant), {})
    if implementation.loss.has_classes:
        arguments = arguments | {"num_classes": classes, "embedding_dim": dim}
    return arguments


def rows(batch, dim, classes, spread):
    """Return rows of one Gaussian, or of one around each class's own mean."""
    if spread is None:
        return torch.randn(batch, dim, dtype=torch.float64)
    means = torch.randn(classes, dim, dtype=torch.float64)
    noise = torch.randn(batch, dim, dtype=torch.float64)
    return means[torch.arange(batch) % classes] + spread * noise


def make_inputs(loss, batch, dim, classes, spread):
    """Return a batch in float64, by the names of the Loss's inputs."""
    x = rows(batch, dim, classes, spread)
    labels = torch.arange(batch) % classes
    if loss.inputs == "labelled":
        return {"embeddings": x, "labels": labels}
    other = rows(batch, dim, classes, spread)
    if loss.inputs == "pairs":
        # Near enough for the margin to matter.
        scale = 0.7 / math.sqrt(dim)
        return {"x0": x * scale, "x1": other * scale, "same": labels % 2}
    return {"a": x, "b": other}


def results(module, inputs, dtype):
    """Return the first output, the other outputs, and every gradient by name."""
    given = {
        name: value.to(dtype).requires_grad_() if value.is_floating_point() else value
        for name, value in inputs.items()
    }
    output, *others = module(**given)
    weights = torch.linspace(0.5, 1.5, output.numel(), dtype=dtype).view_as(output)
    leaves = {name: value for name, value in given.items() if value.requires_grad}
    leaves |= dict(module.named_parameters())
    gradients = torch.autograd.grad((output * weights).sum(), list(leaves.values()))
    return {"value": output, **dict(zip(leaves, gradients, strict=True))}, others


def relative_error(actual, expected):
    """Return the norm of the difference over that of the expected tensor."""
    return ((actual.double() - expected).norm() / expected.norm().clamp(min=1e-30)).item()


def errors(implementation, arguments, inputs, dtype):
    """Return the implementation's and the reference's error in a dtype, by value and gradient."""
    reference = impls.implementation(implementation.loss.name, "reference")
    oracle = reference.build(**arguments).to(dtype)
    contender = implementation.build(**arguments).to(dtype)
    plain = reference.build(**arguments).to(dtype)
    for module in (contender, plain):
        module.load_state_dict(oracle.state_dict())
    rounded = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    expected, _ = results(oracle.double(), rounded, torch.float64)
    actual, _ = results(contender, rounded, dtype)
    usual, _ = results(plain, rounded, dtype)
    return {
        name: (relative_error(actual[name], value), relative_error(usual[name], value))
        for name, value in expected.items()
    }
