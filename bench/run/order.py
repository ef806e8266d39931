"""Sort Records, although the registry may have changed since they were made, and prefer one.

Losses have the order of the catalogue. The reference comes before other variants, and compiled
variants come after them. Losses and variants that are no longer registered come last.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from lossbench import impls
from lossbench.bench.case.cases import DATA_KINDS, DTYPES, Case
from lossbench.bench.machine.conditions import BUSY_ELSEWHERE
from lossbench.bench.timing.samples import FEWEST_PROCESSES
from lossbench.impls.compiled import eager_of, is_compiled
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    from lossbench.bench.run.records import Record

UNREGISTERED = "no longer registered"
NARROW = 0.05
"""The relative half-width up to which the interval of a speed-up is narrow."""
T = TypeVar("T")


class Provenance(NamedTuple):
    """The quality of a measurement, by which one of several of a cell is preferred.

    Attributes:
        clean: whether the checkout had no uncommitted changes.
        validated: whether the module was timed by the present method, with the checks of inputs.
        processes: number of processes that sampled the times; 0 without times.
        half_width: half of the interval of its speed-up, relative; infinite if it is unknown.
        elsewhere: number of processors that other processes kept busy.
        made: time of the measurement, ISO 8601 in UTC.
    """

    clean: bool
    validated: bool
    processes: int
    half_width: float
    elsewhere: float
    made: str

    @property
    def grades(self) -> dict[str, bool]:
        """Whether it meets each demand, the most important first, by the name of its failure."""
        return {
            "of uncommitted code": self.clean,
            "timed without checks of inputs": self.validated,
            f"in fewer than {FEWEST_PROCESSES} processes": self.processes >= FEWEST_PROCESSES,
            "with a wide interval": self.half_width <= NARROW,
            "on a busy machine": self.elsewhere <= BUSY_ELSEWHERE,
        }

    @property
    def rank(self) -> tuple[bool | str, ...]:
        """The sort key: every grade in turn, and then the time."""
        return (*self.grades.values(), self.made)

    def weaker_than(self, other: "Provenance") -> str:
        """Return why another measurement of the cell is preferred to this one."""
        theirs = other.grades
        return next((why for why, met in self.grades.items() if theirs[why] > met), "older")


def preferred(found: Sequence[T], provenance: Callable[[T], Provenance]) -> T:
    """Return the one that counts of several measurements of a cell.

    Clean ones come before those of uncommitted code, then those of the present method, of three or
    more processes, with a narrow interval, and of a quiet machine; among equals the newest counts,
    and of equally new ones the last. A measurement that ended without times says what the code
    does, not how noisy the machine was: if it is the newest of the clean ones, it counts.
    """
    known = [(provenance(each), each) for each in found]
    clean = any(origin.clean for origin, _ in known)
    # Of equal ones ``max`` takes the first, which here is the last.
    left = [pair for pair in reversed(known) if pair[0].clean == clean]
    newest = max(left, key=lambda pair: pair[0].made)
    if not newest[0].processes:
        return newest[1]
    return max(left, key=lambda pair: pair[0].rank)[1]


def is_registered(loss: str, variant: str = REFERENCE) -> bool:
    """Return whether the registry has a Loss of this name with this variant."""
    known = loss in (entry.name for entry in impls.losses())
    return known and variant in (entry.variant for entry in impls.implementations(loss))


def place_of_case(case: Case) -> tuple[Any, ...]:
    """Return the sort key of a Case: Loss, device, precision, data, sizes, seed."""
    losses = [loss.name for loss in impls.losses()]
    kind = *_place_in(losses, case.loss), case.ranks, case.device, case.autocast
    dtype, data = _place_in(list(DTYPES), case.dtype), _place_in(DATA_KINDS, case.data)
    return *kind, *dtype, *data, case.dim, case.classes, case.batch, case.seed


def place_of_variant(variant: str, loss: str) -> tuple[Any, ...]:
    """Return the sort key of a variant of a Loss."""
    return not is_registered(loss, variant), *_place_by_name(variant)


def place_of_record(record: "Record") -> tuple[Any, ...]:
    """Return the sort key of a Record: first the Case, then the speed; no times come last."""
    gone = not is_registered(record.case.loss, record.variant)
    return place_of_case(record.case), gone, place_by_speed(record), _place_by_name(record.variant)


def place_by_speed(record: "Record") -> tuple[int, float]:
    """Return the sort key that ranks the variants of a Case, the fastest first.

    The rule is the paired speed-up, because load changes times but hardly their ratio; it is 1 for
    the reference. Variants without pairs are ranked by their median times, after the others.
    """
    if record.step is None:
        return 2, math.inf
    if record.variant == REFERENCE:
        return 0, -1.0
    if record.step.speedup is None:
        return 1, record.step.median_seconds
    return 0, -record.step.speedup.median


def variant_order(also: Iterable[str] = ()) -> list[str]:
    """Return the names of all registered variants in order, then other names in order."""
    registered = {
        implementation.variant
        for loss in impls.losses()
        for implementation in impls.implementations(loss.name)
    }
    names = registered | set(also)
    return sorted(names, key=lambda name: (name not in registered, _place_by_name(name)))


def _place_by_name(variant: str) -> tuple[Any, ...]:
    return is_compiled(variant), variant != REFERENCE, eager_of(variant), variant


def _place_in(known: Sequence[str], name: str) -> tuple[int, str]:
    return known.index(name) if name in known else len(known), name
