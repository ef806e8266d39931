"""Matrix products: large ones in float32 on the CPU use oneDNN in place of MKL, torch's default.

MKL does not use AVX-512 on AMD's processors, and oneDNN is twice as fast there. torch has no public
operator for it: this is the operator that its compiler uses to call oneDNN.
"""

import torch
from torch import Tensor

from lossbench.impls.tracing import is_exporting

# For fewer multiplications the call of MKL is cheaper.
LEAST_MULTIPLICATIONS = 2**22
# Read at import, because the compiler cannot trace the call.
HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``a @ b + bias``, ``[M, N]``, of ``a [M, K]``, ``b [K, N]`` and ``bias [N]``."""
    if not _suits_onednn(a, b):
        return a.mm(b) if bias is None else torch.addmm(bias, a, b)
    return (_opaque if torch.compiler.is_compiling() else _linear)(a, b.t(), bias)


def add_product(total: Tensor, a: Tensor, b: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """Return ``beta · total + alpha · a @ b``, overwriting ``total [M, N]``."""
    if not _suits_onednn(a, b):
        return total.addmm_(a, b, beta=beta, alpha=alpha)
    if beta != 1:
        total *= beta
    return total.add_(product(a, b), alpha=alpha)


def _linear(a: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(a, weight, bias, "none", [], "")
    return result


@torch.library.custom_op("lossbench::linear", mutates_args=(), device_types="cpu")
def _opaque(a: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Call ``_linear`` in compiled code: the compiler accepts its operator for constants only."""
    return _linear(a, weight, bias)


@_opaque.register_fake
def _shape(a: Tensor, weight: Tensor, _bias: Tensor | None) -> Tensor:
    return a.new_empty(a.size(0), weight.size(0))


def _suits_onednn(a: Tensor, b: Tensor) -> bool:
    return (
        HAS_ONEDNN
        and not is_exporting()
        and a.is_cpu
        and a.dtype == b.dtype == torch.float32
        and a.numel() * b.size(1) >= LEAST_MULTIPLICATIONS
        # oneDNN uses a plain loop for a part of a matrix, a thousand times as slow.
        and (b.is_contiguous() or b.t().is_contiguous())
    )
