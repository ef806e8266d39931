"""The product of two tiles, with its precision named."""

import triton
import triton.language as tl

from lossbench.impls.triton.kernels.launching import INTERPRETED as _INTERPRETED

INTERPRETED = tl.constexpr(_INTERPRETED)


@triton.jit
def add_product(total, a, b, PRECISION: tl.constexpr):
    """Return ``total + a b`` of tiles ``[M, N]``, ``[M, K]`` and ``[K, N]``, added in float32.

    Args:
        total: the sum so far, float32.
        a: the first factor.
        b: the second factor, of the same dtype.
        PRECISION: the precision of float32 factors: ``ieee`` for all of it, ``tf32x3`` for three
            products of TF32 parts, ``tf32``; or ``bf16``, where they are bfloat16 already.
    """
    if INTERPRETED:
        # The interpreter would multiply the bits of bfloat16.
        a, b = a.to(tl.float32), b.to(tl.float32)
    # Of half precision every product is exact in float32, whatever is named.
    named: tl.constexpr = "ieee" if PRECISION == "bf16" else PRECISION
    return tl.dot(a, b, total, input_precision=named)
