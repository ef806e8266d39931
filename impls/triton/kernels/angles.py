"""Margins at the target's cosine: what stands in for the cosine, and its slope there.

Everything here is float64: a slope is steep at a cosine of ±1, and its clamp there changes it
within a rounding error.
"""

import triton
import triton.language as tl

from lossbench.impls import formulas

LEAST_SQUARED_SINE = tl.constexpr(formulas.LEAST_SQUARED_SINE)
PRINTED_PI = tl.constexpr(formulas.PRINTED_PI)


@triton.jit
def additive(cosine, COS_M: tl.constexpr, SIN_M: tl.constexpr):
    """Return ``cos(θ + m)`` and its slope; a clamped sine has slope 0."""
    square = 1 - cosine * cosine
    clamped = square < LEAST_SQUARED_SINE
    sine = tl.sqrt(tl.where(clamped, LEAST_SQUARED_SINE, square))
    slope = COS_M + tl.where(clamped, 0.0, cosine / sine) * SIN_M
    return cosine * COS_M - sine * SIN_M, slope


@triton.jit
def guarded(
    cosine,
    COS_M: tl.constexpr,
    SIN_M: tl.constexpr,
    LOWEST_COSINE: tl.constexpr,
    DROP: tl.constexpr,
):
    """Return ``cos(θ + m)``, and beyond ``θ = π - m`` the cosine less a constant."""
    value, slope = additive(cosine, COS_M, SIN_M)
    within = cosine > LOWEST_COSINE
    return tl.where(within, value, cosine - DROP), tl.where(within, slope, 1.0)


@triton.jit
def multiple(cosine, blend, MULTIPLE: tl.constexpr):
    """Return the cosine blended with ``ψ = (-1)^k cos(mθ) - 2k``, ``k = ⌊mθ / π⌋``.

    The multiples of the angle are Chebyshev polynomials of the cosine, by recurrence. Instead of
    an arc cosine, the cosines of the steps are compared.
    """
    steps = tl.zeros_like(cosine)
    sign = tl.zeros_like(cosine) + 1
    before, value = sign, cosine
    slope_before, slope = steps, sign
    for j in tl.static_range(1, MULTIPLE + 1):
        reached = cosine <= tl.cos(tl.zeros_like(cosine) + j * PRINTED_PI / MULTIPLE)
        steps += tl.where(reached, 1.0, 0.0)
        sign = tl.where(reached, -sign, sign)
        before, value = value, 2 * cosine * value - before
        slope_before, slope = slope, 2 * cosine * slope - slope_before
    psi = sign * before - 2 * steps
    slope_of_psi = sign * MULTIPLE * slope_before
    return cosine + (psi - cosine) * blend, 1 + (slope_of_psi - 1) * blend


@triton.jit
def annealed(calls, LAMBDA_MIN: tl.constexpr, LAMBDA_MAX: tl.constexpr):
    """Return ``1 / (1 + λ)`` at the number of calls, ``λ = max(λ_min, λ_max / (1 + 0.2 it))``."""
    count = tl.load(calls).to(tl.float64)
    return 1 / (1 + tl.maximum(LAMBDA_MAX / (1 + 0.2 * count), LAMBDA_MIN))
