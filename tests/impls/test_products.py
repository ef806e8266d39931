"""No implementation computes fewer matrix products than the cost model of its Loss counts."""

from types import MappingProxyType

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.measure.ceilings import sizes_of
from tests.conftest import name_of, supported

PHASES = ("forward", "step")
UNSEEN = {
    "center_all_pairs-reference": "it takes differences, and no product",
    "softmax-torch_chunked": "its products are within one operator",
}


class Products(TorchDispatchMode):
    """Counts the FLOPs of matrix products, by torch's own rules if it has one.

    torch's own counter also follows modules, and fails for a module that is called with a leaf.
    """

    RULES = MappingProxyType(
        {
            **flop_registry,
            torch.ops.aten.addmm_: lambda _, a, b, **__: 2 * a.numel() * b.size(1),
            torch.ops.aten._euclidean_dist: lambda a, b, **_: 2 * a.numel() * len(b),
        }
    )

    def __init__(self):
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in self.RULES:
            self.flops += self.RULES[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def workload_of(loss, batch):
    return Workload.of(Case(loss, batch, dim=8, classes=40, dtype="float64"))


def products_of(loss, variant, workload):
    """Return the FLOPs of the matrix products of an implementation's forward and step."""
    module = workload.module(impls.implementation(loss, variant))
    flops = []
    for call in (lambda: module(**workload.leaves()), lambda: workload.step(module)):
        workload.reset(module)
        with Products() as products:
            call()
        flops.append(products.flops)
    return flops


def cubic(cost, phase, sizes):
    """Return the part of a formula's value with three sizes as factors: the matrix products."""
    # The third difference of a cubic polynomial is six times its leading coefficient.
    at = [cost.flops(phase, {k: t * v for k, v in sizes.items()}) for t in (1, 2, 3)]
    return (3 * at[0] - 3 * at[1] + at[2]) / 6


def test_the_product_is_what_torch_counts_for_plain_softmax():
    cost, workload = impls.loss("softmax").cost, workload_of("softmax", batch=12)
    for phase, flops in zip(PHASES, products_of("softmax", "vectorized", workload), strict=True):
        assert cost.flops(phase, sizes_of(workload.case)) == flops


@pytest.mark.parametrize("implementation", supported(), ids=name_of)
def test_no_implementation_has_fewer_products(implementation):
    if name_of(implementation) in UNSEEN:
        pytest.skip(UNSEEN[name_of(implementation)])
    if implementation.variant == "native":
        pytest.skip(UNSEEN["softmax-torch_chunked"])
    loss = implementation.loss
    # For more than 256 rows, fused variants compute half of a symmetric product, in blocks.
    workload = workload_of(loss.name, batch=300 if implementation.variant == "fused" else 40)
    sizes = sizes_of(workload.case)
    flops = products_of(loss.name, implementation.variant, workload)
    for phase, counted_flops in zip(PHASES, flops, strict=True):
        assert counted_flops >= cubic(loss.cost, phase, sizes)
