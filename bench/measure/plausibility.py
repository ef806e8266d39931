"""Tell a time that is surprisingly short from one that cannot be true.

A time can be below the machine's limit for honest reasons. The limit is a model of the memory
traffic, and caches or sparse gradients can save traffic. Nothing can save arithmetic: a loss needs
products of inputs that it has not seen before. A time in which the machine cannot do the least
arithmetic means that the work was not done, or that the clock was wrong.
"""

import math
from collections.abc import Mapping

import torch

from lossbench import impls
from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.machine.conditions import BUSY_ELSEWHERE
from lossbench.bench.measure.ceilings import Ceilings, limit, sizes_of
from lossbench.impls.cost import Phase

MARGIN = 2.0
"""How far the measured rate of arithmetic may be below the true one.

The clock rate varies, and other processes may slow the measurement of the ceiling; on one virtual
machine the rates of several runs differed by up to 1.2. Algorithms of Strassen's kind save an
eighth of a product at each level. The timed batches may have fewer distinct labels than the counted
one has.
"""

CACHES, SPARSE, ONE_PASS, WIDER, BUSY, CEILING, UNKNOWN = (
    "in caches", "sparse", "one pass", "wider dtype", "busy", "ceiling", "unexplained",
)  # fmt: skip
EXCESSES: Mapping[str, str] = {
    CACHES: "all the data fit into the caches, so they need not move",
    SPARSE: "the gradient is sparse, and moves fewer bytes than a dense one",
    ONE_PASS: "the gradient may be computed with the loss, by one read of the inputs, not two",
    WIDER: "products in the dtype are slow here, and the rate of wider ones was not measured",
    BUSY: "other processes were busy while the ceilings were measured",
    CEILING: f"the measured ceiling may be too low by a factor of {MARGIN:g}",
    UNKNOWN: "no honest reason is known",
}
"""The reasons why a time may be below the machine's limit, and their meanings."""


def check_plausibility(case: Case, seconds: Mapping[Phase, float], ceilings: Ceilings) -> str:
    """Return why the times of an implementation cannot be true; empty if they can be.

    Ceilings of a busy machine can be many times too low, so they refuse nothing.

    Args:
        case: case of the times.
        seconds: time of one call, by phase.
        ceilings: best rates of this machine.
    """
    from lossbench.bench.format import si

    if ceilings.elsewhere >= BUSY_ELSEWHERE:
        return ""
    least = least_arithmetic_seconds(case, ceilings)
    for phase, time in seconds.items():
        if least is not None and MARGIN * time < least:
            return (
                f"implausible: a {phase} of {si(time, 's')}, where the least arithmetic of "
                f"{case.loss} takes {si(least, 's')} at the fastest rate of a product here"
            )
    return ""


def least_arithmetic_seconds(case: Case, ceilings: Ceilings) -> float | None:
    """Return the time of the arithmetic that neither phase can do without.

    ``None`` if it is unknown: no rate was measured for the dtype, or only that of a 16-bit dtype.
    Products in 16 bits may be computed faster in a wider dtype.
    """
    rate = _fastest_rate(case.dtype, ceilings.flops_per_second)
    return None if rate is None else impls.loss(case.loss).cost.least_flops(sizes_of(case)) / rate


def _fastest_rate(dtype: str, rates: Mapping[str, float]) -> float | None:
    """Return the rate of products as exact as those of a dtype, computed in any dtype."""
    wide = "float32" if DTYPES[dtype].itemsize < 4 else dtype
    if wide not in rates:
        return None
    return max(rate / _products(dtype, name) for name, rate in rates.items() if name in DTYPES)


def _products(dtype: str, parts: str) -> int:
    """Return how many products of a dtype make one as exact as a product of another dtype.

    A number can be split into n terms of fewer digits; n (n + 1) / 2 products of terms matter. Two
    digits may be lost, because an error of four units is within the budget.

    Args:
        dtype: name of the dtype to be as exact as.
        parts: name of the dtype of the terms.
    """
    terms = max(1, math.ceil((_digits(dtype) - 2) / _digits(parts)))
    return terms * (terms + 1) // 2


def _digits(dtype: str) -> int:
    """Return the number of binary digits of a dtype's numbers."""
    return 1 - round(math.log2(torch.finfo(DTYPES[dtype]).eps))


def explain_excess(
    case: Case, phase: Phase, seconds: float, ceilings: Ceilings, *, sparse: bool
) -> str:
    """Return why a time is below the machine's limit, a key of ``EXCESSES``; empty if it is not.

    Args:
        case: case of the time.
        phase: phase of the time.
        seconds: time of one call.
        ceilings: best rates of this machine.
        sparse: whether the implementation gives a sparse gradient.
    """
    least = limit(case, phase, ceilings)
    if seconds >= least.seconds:
        return ""
    if least.bound == "bytes" and sparse:
        return SPARSE
    if least.bound == "bytes" and _fits_caches(case, phase, ceilings):
        return CACHES
    if least.bound == "bytes" and seconds >= _one_pass_seconds(case, phase, ceilings):
        return ONE_PASS
    if least.bound == "arithmetic" and least_arithmetic_seconds(case, ceilings) is None:
        return WIDER
    if ceilings.elsewhere >= BUSY_ELSEWHERE:
        return BUSY
    return CEILING if MARGIN * seconds >= least.seconds else UNKNOWN


def _one_pass_seconds(case: Case, phase: Phase, ceilings: Ceilings) -> float:
    """Return the time of a step's memory traffic if its backward pass reads no input again.

    The gradient of a loss can be computed with it, since its upstream gradient is one number; that
    of distances cannot. The result is infinite where nothing can be saved.
    """
    loss, sizes = impls.loss(case.loss), sizes_of(case)
    if phase == "forward" or loss.kind != "loss":
        return math.inf
    size = case.held_dtype.itemsize
    again = loss.cost.traffic_bytes("forward", sizes, size)
    return (loss.cost.traffic_bytes("step", sizes, size) - again) / ceilings.bytes_per_second


def _fits_caches(case: Case, phase: Phase, ceilings: Ceilings) -> bool:
    traffic = impls.loss(case.loss).cost.traffic_bytes(
        phase, sizes_of(case), case.held_dtype.itemsize
    )
    return traffic <= ceilings.cache_bytes
