"""Draw random sizes that were not recorded, and predict the fastest variant at each."""

import math
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.answer import first_ranking
from lossbench.bench.choose.ranking import Ranking
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import Host, NotMeasured, Pool, pools_of
from lossbench.bench.errors import UsageError
from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.run.plan import RunPlan, choose_variants
from lossbench.bench.run.records import Record
from lossbench.bench.timing.samples import FEWEST_PROCESSES

RANGES: Mapping[str, tuple[int, int]] = {
    "batch": (64, 1024),
    "dim": (128, 512),
    "classes": (10, 10_000),
}
# A loss is skipped if this many draws give no size within reach of its recorded sizes.
CASES_DRAWN = 300


@dataclass(frozen=True)
class Prediction:
    """The ranking that is predicted for a size without records."""

    case: Case
    ranking: Ranking


def predict(
    records: Sequence[Record], device: str, machine: str, here: Host, count: int, seed: int
) -> list[Prediction]:
    """Return predictions for random sizes without records; the losses take turns.

    The logarithms of sizes are drawn uniformly from the part of ``RANGES`` that the loss's records
    cover, until a size has no record and is answered without extrapolation.

    Args:
        records: records to predict from.
        device: ``cpu`` or ``cuda``.
        machine: name of the machine to use records of; empty for any machine like this one.
        here: this machine, which will measure the sizes.
        count: number of sizes.
        seed: seed of the sizes.

    Raises:
        UsageError: if there are no records of this machine, or too few sizes in them.
    """
    generator = random.Random(seed)
    losses = [loss.name for loss in impls.losses()]
    generator.shuffle(losses)
    found = dict[Case, Prediction]()
    for turn in range(2 * count):
        loss = losses[turn % len(losses)]
        pools = _pools_here(records, loss, device, machine, here)
        prediction = _draw(pools, loss, device, generator) if pools else None
        if prediction is not None and len(found) < count:
            found[prediction.case] = prediction
    if len(found) < count:
        raise UsageError(
            f"expected records to answer {count} other sizes, got {len(found)}; use a smaller "
            "--held-out, or make more records with `lossbench run --preset full`"
        )
    return list(found.values())


def _pools_here(
    records: Sequence[Record], loss: str, device: str, machine: str, here: Host
) -> list[Pool]:
    """Return the pools of a Loss from machines like this one, which alone can be measured here."""
    largest = {axis: high for axis, (_, high) in RANGES.items()}
    pools = pools_of(records, _case(loss, device, largest))
    named = [pool for pool in pools if not machine or machine in pool.machines]
    mine = [pool for pool in named if pool.host == here]
    if pools and not mine:
        others = ", ".join(sorted(map(str, pools)))
        raise NotMeasured(
            f"expected records of a machine like {here}, got those of {others}; "
            "make some with `lossbench run --preset full`"
        )
    return mine


def _draw(pools: list[Pool], loss: str, device: str, generator: random.Random) -> Prediction | None:
    """Return the prediction for a random size of a Loss, or ``None`` if no size is found."""
    timed = sorted({record.case for pool in pools for record in pool.records}, key=str)
    spans = {axis: _span(axis, timed) for axis in RANGES}
    for _ in range(CASES_DRAWN):
        sizes = {axis: _log_uniform(generator, *span) for axis, span in spans.items()}
        request = Request(_case(loss, device, sizes), third_party=True, sparse=True)
        with suppress(NotMeasured):
            _, ranking = first_ranking(pools, request)
            if ranking.best.basis == "modelled":
                return Prediction(request.case, ranking)
    return None


def _case(loss: str, device: str, sizes: Mapping[str, int]) -> Case:
    return Case(loss, sizes["batch"], sizes["dim"], sizes["classes"], device=device)


def _log_uniform(generator: random.Random, low: int, high: int) -> int:
    return round(math.exp(generator.uniform(math.log(low), math.log(high))))


def _span(axis: str, cases: Sequence[Case]) -> tuple[int, int]:
    """Return the smallest and the largest recorded size of an axis within its range."""
    low, high = RANGES[axis]
    sizes = [size for case in cases if low <= (size := getattr(case, axis)) <= high]
    return min(sizes, default=low), max(sizes, default=low)


def plan_of(
    predictions: Sequence[Prediction], budget_seconds: float, threads: int, machine: str
) -> RunPlan:
    """Return the plan of a run that measures every eager variant at the sizes."""
    tasks = tuple(
        (each.case, choose_variants(each.case, (), compiled=False)) for each in predictions
    )
    return RunPlan(
        tasks, budget_seconds, VARIANT_SECONDS, threads, machine, processes=FEWEST_PROCESSES
    )
