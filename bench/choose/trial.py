"""The choice on trial: random sizes that were never measured, chosen for, and then measured."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from pydantic import ConfigDict, RootModel
from pydantic.dataclasses import dataclass

import impls
from bench.cases import Case
from bench.choose.answer import first_ranking
from bench.choose.measuring import TIMEOUT_SECONDS
from bench.choose.ranking import Ranking, Verdict
from bench.choose.ratios import step_ratio
from bench.choose.request import Request
from bench.choose.shares import Share
from bench.choose.sizes import weights_between
from bench.choose.sources import Host, NotMeasured, OtherMachine, alike, choose_pools, pools_of
from bench.environment import Environment
from bench.errors import UsageError
from bench.intervals import Interval
from bench.measure import REFERENCE
from bench.plan import Plan, choose_variants
from bench.records import Record

SCHEMA = 1
MOST_SLOWER = 0.10
LEAST_SHARE = 0.9
RANGES: Mapping[str, tuple[int, int]] = {
    "batch": (64, 1024),
    "dim": (128, 512),
    "classes": (10, 10_000),
}
# A loss of which no size was found between recorded ones after so many draws is passed over.
DRAWS = 300

Outcome = Literal["holds", "fails"]


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings", extra="forbid"))
class Trial:
    """One size that was not in the records.

    Attributes:
        case: which.
        chosen: the variant that was recommended.
        verdict: how sure that was.
        predicted_seconds: a step of it, as interpolated.
        seconds: a step of every variant that agreed, as measured then.
        best: the fastest of them; empty where none was timed.
        ratio: the chosen one's time over the best one's; ``None`` where it was not timed.
    """

    case: Case
    chosen: str
    verdict: Verdict
    predicted_seconds: float
    seconds: dict[str, float]
    best: str
    ratio: Interval | None

    @property
    def within(self) -> bool:
        """Whether the chosen variant takes at most a tenth longer than the best."""
        return self.ratio is not None and self.ratio.median <= 1 + MOST_SLOWER


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings", extra="forbid"))
class TrialReport:
    """All trials.

    Attributes:
        environment: where and with what.
        made: when, ISO 8601 in UTC.
        seed: of the sizes.
        budget_seconds: how long each phase of a case could be sampled.
        trials: a size each.
        schema: the version of this layout. 1: the first.
    """

    environment: Environment
    made: str
    seed: int
    budget_seconds: float
    trials: tuple[Trial, ...]
    schema: int = SCHEMA

    @property
    def right(self) -> int:
        """How many recommended variants were within a tenth of the best."""
        return sum(trial.within for trial in self.trials)

    @property
    def needed(self) -> int:
        """How many must be."""
        return math.ceil(LEAST_SHARE * len(self.trials))

    @property
    def outcome(self) -> Outcome:
        """Whether the promise holds."""
        return "holds" if self.right >= self.needed else "fails"

    def right_always(self, variant: str) -> int:
        """Return how many would be right, if one variant were always taken."""
        return sum(
            variant in trial.seconds
            and trial.seconds[variant] <= (1 + MOST_SLOWER) * trial.seconds[trial.best]
            for trial in self.trials
        )


class TrialFile(RootModel[TrialReport]):
    """A TrialReport as JSON."""


@dataclass(frozen=True)
class Prediction:
    """What is recommended for a size between recorded ones."""

    case: Case
    ranking: Ranking


def predict(
    records: Sequence[Record], device: str, machine: str, here: Host, count: int, seed: int
) -> list[Prediction]:
    """Return recommendations for random sizes between recorded ones, the losses taking turns.

    Sizes are drawn evenly in their logarithms from ``RANGES``, as far as a loss's records span
    them, until one lies between recorded sizes and is none of them.

    Raises:
        UsageError: where there are no records of this machine, or too few sizes in them.
    """
    generator = random.Random(seed)
    losses = [loss.name for loss in impls.losses()]
    generator.shuffle(losses)
    found = dict[Case, Prediction]()
    for turn in range(2 * count):
        prediction = _draw(records, losses[turn % len(losses)], device, machine, here, generator)
        if prediction is not None and len(found) < count:
            found[prediction.case] = prediction
    if len(found) < count:
        raise UsageError(f"the records hold sizes to draw {len(found)} between, not {count}")
    return list(found.values())


def _draw(
    records: Sequence[Record],
    loss: str,
    device: str,
    machine: str,
    here: Host,
    generator: random.Random,
) -> Prediction | None:
    """Return a recommendation for one size of a Loss, or ``None`` where none is found."""
    largest = {axis: high for axis, (_, high) in RANGES.items()}
    kind = _case(loss, device, largest)
    found = pools_of(records, kind)
    if not found:
        return None
    # What is chosen for another machine cannot be measured on this one.
    pools = alike(choose_pools(found, kind, machine, here), here)
    if not pools:
        raise OtherMachine(f"the records of {machine!r} are not of a machine like this one, {here}")
    timed = sorted({case for pool in pools for case in pool.of(REFERENCE)}, key=str)
    spans = {axis: _span(axis, timed) for axis in RANGES}
    for _ in range(DRAWS):
        sizes = {axis: _log_uniform(generator, *span) for axis, span in spans.items()}
        request = Request(_case(loss, device, sizes), sparse=True)
        if weights_between(request.case, timed) is None:
            continue
        with suppress(NotMeasured):
            _, ranking = first_ranking(pools, request)
            if ranking.best.interpolated:
                return Prediction(request.case, ranking)
    return None


def _case(loss: str, device: str, sizes: Mapping[str, int]) -> Case:
    return Case(loss, sizes["batch"], sizes["dim"], sizes["classes"], device=device)


def _log_uniform(generator: random.Random, low: int, high: int) -> int:
    return round(math.exp(generator.uniform(math.log(low), math.log(high))))


def _span(axis: str, cases: Sequence[Case]) -> tuple[int, int]:
    """Return the sizes of an axis that are both within its range and between recorded ones."""
    low, high = RANGES[axis]
    sizes = [size for case in cases if low <= (size := getattr(case, axis)) <= high]
    return min(sizes, default=low), max(sizes, default=low)


def plan_of(
    predictions: Sequence[Prediction], budget_seconds: float, threads: int, machine: str
) -> Plan:
    """Return the plan that measures every eager variant at the sizes, in one process each."""
    tasks = tuple(
        (each.case, choose_variants(each.case, (), compiled=False)) for each in predictions
    )
    return Plan(tasks, budget_seconds, TIMEOUT_SECONDS, threads, machine)


def trial_of(prediction: Prediction, records: Iterable[Record]) -> Trial:
    """Return how a recommendation fares against what was then measured."""
    timed = {r.variant: r for r in records if r.case == prediction.case and r.step}
    reference = timed.get(REFERENCE)
    seconds = {name: Share(1.0, record, reference).seconds for name, record in timed.items()}
    best = min(seconds, key=lambda name: seconds[name], default="")
    chosen = prediction.ranking.best
    ratio = step_ratio(timed[best], timed[chosen.variant]) if chosen.variant in timed else None
    return Trial(
        case=prediction.case,
        chosen=chosen.variant,
        verdict=prediction.ranking.verdict,
        predicted_seconds=chosen.step_seconds,
        seconds=seconds,
        best=best,
        ratio=ratio,
    )
