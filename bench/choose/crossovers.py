"""Find the sizes at which another variant overtakes the best one."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lossbench.bench.choose.candidates import Candidate
from lossbench.bench.choose.ranking import contenders, total_ratio
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import Pool
from lossbench.bench.errors import UsageError
from lossbench.impls.estimate import CORRECTED_WITHIN, REACH

TRIED_PER_OCTAVE = 4
"""The number of sizes per factor of two that are tried."""
CONFIRMED = round(TRIED_PER_OCTAVE * CORRECTED_WITHIN / math.log(2))
"""The number of further sizes at which a crossover must hold: as far as a record reaches."""
Crossover = tuple[int, str]
"""The size from which on another variant wins, and that variant."""


def crossovers(pool: Pool, request: Request, axis: str, best: str) -> dict[str, Crossover]:
    """Return the nearest crossover on either side, within reach of the records, by side in words.

    If it is the same variant on both sides and both are near, it is this size that is odd: its
    record differs from those around it. Then neither is told.

    Args:
        pool: records to answer from.
        request: Case and constraints.
        axis: axis of the sizes to try; the others stay.
        best: variant that is chosen at the size of the request.
    """
    here = getattr(request.case, axis)
    sizes = [getattr(record.case, axis) for record in pool.records]
    ends = {"up to": min(sizes) / REACH, "from": max(sizes) * REACH}
    found = {
        side: _crossover(pool, request, axis, best, _sizes_between(here, end))
        for side, end in ends.items()
        if (end > here) == (side == "from")
    }
    told = {side: crossover for side, crossover in found.items() if crossover}
    near = all(abs(math.log(size / here)) <= CORRECTED_WITHIN for size, _ in told.values())
    odd = len(told) == 2 and len({variant for _, variant in told.values()}) == 1
    return {} if near and odd else told


def _sizes_between(here: int, end: float) -> list[int]:
    """Return the sizes to try from one size towards another, at equal factors, without both."""
    octaves = math.log2(end / here)
    count = math.ceil(abs(octaves) * TRIED_PER_OCTAVE)
    factors = (2 ** math.copysign(i / TRIED_PER_OCTAVE, octaves) for i in range(1, count))
    tried = dict.fromkeys(max(round(here * factor), 1) for factor in factors)
    return [size for size in tried if size != here]


def _crossover(
    pool: Pool, request: Request, axis: str, best: str, sizes: Iterable[int]
) -> Crossover | None:
    """Return the first of the sizes from which on another variant wins, and that variant.

    One noisy record can make another variant win about its own size. So a variant counts only if it
    wins for certain somewhere, and the present one does not win again as far as a record reaches.
    """
    since, sure = list[Crossover](), False
    for size in sizes:
        order = _order_at(pool, request, axis, size, best)
        if not order:
            continue
        if order[0].variant == best:
            since, sure = [], False
            continue
        since.append((size, order[0].variant))
        sure = sure or _is_ahead(order, best, request, axis, size)
        if sure and len(since) > CONFIRMED:
            break
    return since[0] if sure and len(since) > 1 else None


def _order_at(pool: Pool, request: Request, axis: str, size: int, known: str) -> list[Candidate]:
    """Return the eligible variants at another size, the best first.

    It is empty if there is none, or if a variant that must be known there is out of reach of its
    records: what replaces it may only have been measured further.
    """
    try:
        there = _at_size(request, axis, size)
        return contenders(pool, there) if pool.models[known].knows(there.case) else []
    except UsageError:
        return []


def _is_ahead(order: list[Candidate], other: str, request: Request, axis: str, size: int) -> bool:
    """Return whether the first variant is faster than another for certain, or the only eligible."""
    behind = next((each for each in order if each.variant == other), None)
    there = _at_size(request, axis, size)
    return behind is None or total_ratio(order[0], behind, there).low > 1


def _at_size(request: Request, axis: str, size: int) -> Request:
    change: dict[str, Any] = {axis: size}
    return replace(request, case=replace(request.case, **change))
