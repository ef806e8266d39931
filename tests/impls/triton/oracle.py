"""The harness's own oracle for variants that run in the interpreter here, on the CPU."""

import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.agreement import measure_agreement
from lossbench.impls.triton.kernels.launching import INTERPRETED

# A batch, a number of features and a number of classes that are no multiples of a tile.
AWKWARD = ((2, 3, 2), (31, 3, 5), (33, 17, 33))


def agree(loss, size, dtype="float32", **changes):
    """Hold a variant against the oracle on every draw: odd batches, strided inputs, two steps."""
    assert INTERPRETED
    batch, dim, classes = size
    case = Case(loss, batch=batch, dim=dim, classes=classes, dtype=dtype, **changes)
    found = measure_agreement(case, impls.implementation(loss, "triton"))
    assert found
    assert [str(part) for part in found if not part.passed] == []


def step(loss, variant, inputs, state=(), dtype=torch.float32, upstream=1.0, **arguments):
    """Return the outputs and the gradients of one step, in float64."""
    module = impls.implementation(loss, variant).build(validate=False, **arguments).to(dtype)
    module.load_state_dict(dict(state), strict=False)
    inputs = [t.detach().clone() for t in inputs]
    leaves = [t.to(dtype).requires_grad_() if t.is_floating_point() else t for t in inputs]
    out = module(*leaves)
    (out[0] * upstream).sum().backward()
    targets = [t for t in (*leaves, *module.parameters()) if t.requires_grad]
    return out, [t.grad.double() for t in targets]


def compare(loss, inputs, state=(), *, variant="triton", tolerance=2e-6, **arguments):
    """Hold the value and the gradients of a step, in float32, to a share of their lengths."""
    expected, wanted = step(loss, "reference", inputs, state, torch.float64, **arguments)
    out, found = step(loss, variant, inputs, state, **arguments)
    torch.testing.assert_close(out[0].double(), expected[0], rtol=tolerance, atol=tolerance)
    for one, other in zip(found, wanted, strict=True):
        assert (one.to_dense() - other).norm() <= tolerance * max(other.norm(), 1e-3)
