"""Matrix products; in float32 on the CPU by oneDNN, where torch's own go to MKL.

MKL leaves AVX-512 unused on AMD's processors: there oneDNN is twice as fast. torch has no public
name for it: this is the operator by which its compiler calls oneDNN.
"""

import torch
from torch import Tensor

# Of fewer multiplications MKL's call is the cheaper one.
LEAST_MULTIPLICATIONS = 2**22
# Asked once: the compiler cannot trace the question.
HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``a @ b + bias``, ``[M, N]``, of ``a [M, K]``, ``b [K, N]`` and ``bias [N]``."""
    if not _suits_onednn(a, b):
        return a.mm(b) if bias is None else torch.addmm(bias, a, b)
    return (_opaque if torch.compiler.is_compiling() else _linear)(a, b.t(), bias)


def add_product(total: Tensor, a: Tensor, b: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """Return ``beta · total + alpha · a @ b``, in place of ``total [M, N]``."""
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
    """Do what ``_linear`` does, of whose operator the compiler takes constant weights alone."""
    return _linear(a, weight, bias)


@_opaque.register_fake
def _shape(a: Tensor, weight: Tensor, _bias: Tensor | None) -> Tensor:
    return a.new_empty(a.size(0), weight.size(0))


def _suits_onednn(a: Tensor, b: Tensor) -> bool:
    return (
        HAS_ONEDNN
        and a.is_cpu
        and a.dtype == b.dtype == torch.float32
        and a.numel() * b.size(1) >= LEAST_MULTIPLICATIONS
        # It would take a part of a matrix by a plain loop, a thousand times as slow.
        and (b.is_contiguous() or b.t().is_contiguous())
    )
