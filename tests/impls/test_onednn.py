"""Products by oneDNN: correct in every layout, and used by compiled code too."""

import pytest
import torch

from lossbench.bench.machine.profiler import new_profiler
from lossbench.impls import products


@pytest.mark.parametrize(
    "layout",
    [
        lambda b: b,
        lambda b: b.t().contiguous().t(),
        lambda b: torch.stack([b, b], 2)[..., 0],
        lambda b: b.to(torch.float64),
    ],
    ids=["rows", "columns", "strided", "float64"],
)
def test_a_product_is_right_in_every_layout(layout):
    torch.manual_seed(0)
    a, b = torch.randn(96, 200), layout(torch.randn(200, 512))
    assert a.numel() * b.size(1) >= products.LEAST_MULTIPLICATIONS
    a = a.to(b.dtype)
    expected = a.double() @ b.double()
    torch.testing.assert_close(products.product(a, b).double(), expected, rtol=1e-4, atol=1e-4)
    total = products.add_product(torch.ones_like(expected, dtype=b.dtype), a, b)
    torch.testing.assert_close(total.double(), expected + 1, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not products.HAS_ONEDNN, reason="needs oneDNN")
def test_a_compiled_product_is_onednns_too_at_any_size():
    compiled = torch.compile(products.product, backend="eager", fullgraph=True, dynamic=True)
    a, b, bias = torch.randn(96, 200), torch.randn(200, 512), torch.randn(512)
    for rows in (96, 95):
        with new_profiler() as profiler:
            result = compiled(a[:rows].contiguous(), b, bias)
        assert "mkldnn::_linear_pointwise" in {event.name for event in profiler.events()}
        torch.testing.assert_close(result, products.product(a, b, bias)[:rows])
    torch.library.opcheck(products._opaque, (a, b.t(), bias))
