"""Check a bundle as a whole: what its Records say of each other, of its plan, and of known ones."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.ratios import same_rounds
from lossbench.bench.choose.sources import Host
from lossbench.bench.printable import printable
from lossbench.bench.run.records import Record
from lossbench.bench.submit.bundle import Bundle
from lossbench.bench.submit.likeness import count_difference, likeness_of
from lossbench.bench.submit.possible import impossibilities
from lossbench.bench.timing.samples import Timing
from lossbench.impls.registry import REFERENCE

CLOCK_SKEW = timedelta(days=1)
DRIFT = 3.0
"""The most by which the reference's time may differ between two rounds of one run."""


@dataclass(frozen=True)
class Refusal:
    """One reason to refuse a bundle.

    Attributes:
        place: record that it concerns, in words; empty if it concerns them all.
        reason: reason in one line.
    """

    place: str
    reason: str

    def __str__(self) -> str:
        """Return both in one line that every terminal prints."""
        return printable(f"{self.place}: {self.reason}" if self.place else self.reason)


def place_of(record: Record) -> str:
    """Return the loss, the variant and the Case of a Record in words."""
    return printable(f"{record.case.loss} {record.variant}, {record.case}")


def check_bundle(bundle: Bundle, known: Iterable[Record] = ()) -> list[Refusal]:
    """Return the reasons to refuse a bundle; nothing is measured.

    Args:
        bundle: bundle to check.
        known: other Records; their counts are compared with those of the same cells.
    """
    refusals = list(_of_the_run(bundle))
    refusals += [
        Refusal(place_of(record), reason)
        for record in bundle.records
        for reason in impossibilities(record)
    ]
    if not refusals:
        # The following compares Records that are possible one by one.
        refusals += _between_records(bundle.records)
        refusals += _against_known(bundle.records, known)
    return refusals


def _of_the_run(bundle: Bundle) -> Iterator[Refusal]:
    if not bundle.records:
        yield Refusal("", "it has no record")
    planned, latest = set(bundle.plan.cells), datetime.now(UTC) + CLOCK_SKEW
    seen = set[tuple[Case, str]]()
    for record in bundle.records:
        if record.cell not in planned:
            yield Refusal(place_of(record), "it is not in the plan of the run")
        if record.cell in seen:
            yield Refusal(place_of(record), "it is there twice")
        seen.add(record.cell)
        if _time_of(record) > latest:
            yield Refusal(place_of(record), f"it was made in the future, {record.made}")
        if record.environment.threads != bundle.plan.threads:
            yield Refusal(place_of(record), "it was not timed with the plan's number of threads")


def _time_of(record: Record) -> datetime:
    made = datetime.fromisoformat(record.made)
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _between_records(records: Iterable[Record]) -> Iterator[Refusal]:
    """Yield the variants with other times of the reference than the reference itself."""
    timed = [record for record in records if record.step is not None]
    references = {record.case: record for record in timed if record.variant == REFERENCE}
    for record in timed:
        reference = references.get(record.case)
        if reference is None or same_rounds(reference, record):
            continue
        factor = _reference_drift(reference.step, record.step)
        if factor is None or factor > DRIFT:
            told = f"{factor:.1f} times" if factor else "without"
            reason = f"its ratio was taken {told} the reference's time in the same run"
            yield Refusal(place_of(record), reason)


def _reference_drift(reference: Timing | None, timing: Timing | None) -> float | None:
    """Return the factor between the reference's own time and that of a variant's rounds."""
    if reference is None or timing is None:
        return None
    beside = [seconds for process in timing.processes for seconds in process.reference_seconds]
    if not beside:
        return None
    ratio = sorted(beside)[len(beside) // 2] / reference.median_seconds
    return max(ratio, 1 / ratio)


def _against_known(records: Iterable[Record], known: Iterable[Record]) -> Iterator[Refusal]:
    """Yield the Records with other counts than a known one of the same cell, Host and commit."""
    counted = {_origin(each): each for each in known if each.memory and not each.environment.dirty}
    for record in records:
        other = counted.get(_origin(record))
        if other is not None and record.memory is not None:
            difference = count_difference(record, other, likeness_of(record, other))
            if difference:
                yield Refusal(place_of(record), f"{difference} in {other.environment.machine}'s")


def _origin(record: Record) -> tuple[object, ...]:
    environment = record.environment
    return *record.cell, Host.of(environment, record.case.device), environment.commit
