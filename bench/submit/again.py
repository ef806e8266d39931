"""Measure a sample of a bundle's cells again, and compare what is found with what it says."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.format import binary, spread
from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.machine.quotas import available_memory, default_threads
from lossbench.bench.run.plan import RunPlan
from lossbench.bench.run.records import Record
from lossbench.bench.submit.checks import Refusal, place_of
from lossbench.bench.submit.likeness import count_difference, likeness_of, ratio_difference
from lossbench.bench.timing.samples import FEWEST_PROCESSES
from lossbench.impls.registry import REFERENCE, implementation

MEMORY_SHARE = 0.25
"""The share of the available memory that the peak of a measured cell may have."""
# What says nothing of the claim: this machine lacks something, or a worker was ended.
UNTOLD = ("unsupported", "oom", "timeout", "crashed")


@dataclass(frozen=True)
class Remeasured:
    """A cell of a bundle that was measured again.

    Attributes:
        place: record of the bundle, in words.
        text: figures of the bundle and those found here, in one line.
        refusal: reason to refuse the bundle; ``None`` if both can be true.
    """

    place: str
    text: str
    refusal: Refusal | None


def sample_cells(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """Return some Records with times that can be measured here, each in a Case of its own.

    Args:
        records: Records of a bundle.
        count: number of Records.
        seed: seed of the draw; who knows it beforehand knows which cells are looked at.
    """
    able = [record for record in records if _is_able(record)]
    random.Random(seed).shuffle(able)
    by_case: dict[Case, Record] = {}
    for record in able:
        by_case.setdefault(record.case, record)
    return list(by_case.values())[:count]


def _is_able(record: Record) -> bool:
    """Return whether a Record claims times that this machine can measure in reasonable memory."""
    case = record.case
    if record.step is None or record.memory is None or record.variant == REFERENCE:
        return False
    if case.device == "cuda" and not torch.cuda.is_available():
        return False
    if implementation(case.loss, record.variant).unsupported(case.device, case.held_dtype):
        return False
    on_cpu = case.device == "cpu"
    return not on_cpu or record.memory.step_peak_bytes <= MEMORY_SHARE * available_memory()


def plan_again(records: Sequence[Record], threads: int, budget_seconds: float) -> RunPlan:
    """Return the plan that measures Records again, each beside the reference.

    Args:
        records: Records of ``sample_cells``.
        threads: number of threads of the bundle's run; fewer if this machine has fewer.
        budget_seconds: time to sample one phase of one Case, over all processes.

    Raises:
        UsageError: if there are no Records.
    """
    if not records:
        raise UsageError("no cell of the bundle can be measured here; --no-measure only checks it")
    return RunPlan(
        tasks=tuple((record.case, (REFERENCE, record.variant)) for record in records),
        budget_seconds=budget_seconds,
        timeout_seconds=VARIANT_SECONDS,
        threads=min(threads, default_threads()),
        machine="",
        processes=FEWEST_PROCESSES,
    )


def compare_again(claimed: Iterable[Record], found: Iterable[Record]) -> Iterator[Remeasured]:
    """Yield the comparison of each claimed Record with that of the same cell found here."""
    by_cell = {record.cell: record for record in found}
    for record in claimed:
        yield _compare(record, by_cell[record.cell])


def _compare(claimed: Record, found: Record) -> Remeasured:
    place = place_of(claimed)
    if found.status in UNTOLD:
        return Remeasured(place, f"not measured here: {found.status}, {found.reason}", None)
    if found.status != "passed":
        reason = f"it is {found.status} here: {found.reason}"
        return Remeasured(place, reason, Refusal(place, reason))
    likeness = likeness_of(claimed, found)
    text = f"submitted {_figures(claimed)}; here {_figures(found)}; {likeness.words}"
    difference = count_difference(claimed, found, likeness)
    difference = difference or ratio_difference(claimed, found, likeness)
    reason = f"{difference} here; {likeness.words}"
    return Remeasured(place, text, Refusal(place, reason) if difference else None)


def _figures(record: Record) -> str:
    speedup = record.step.speedup if record.step else None
    peak = binary(record.memory.step_peak_bytes) if record.memory else "not counted"
    return f"{spread(speedup) if speedup else 'no ratio'}, {peak}"
