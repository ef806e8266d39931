"""The goals of the first light, and what its records say of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.run.records import Record

MIB = 2**20


@dataclass(frozen=True)
class LightGoal:
    """A goal for the variant ``triton`` in a Case of the preset ``cuda``.

    Attributes:
        case: case of the goal.
        seconds: time of a step to reach.
        peak_bytes: memory of a step to stay within, above inputs and parameters; ``None`` if the
            goal has none.
    """

    case: Case
    seconds: float
    peak_bytes: int | None = None


GOALS = (
    LightGoal(Case("triplet_batch_hard", 8192, 512, 1000, device="cuda"), 0.8e-3, 32 * MIB),
    LightGoal(Case("arcface", 1024, 512, 100_000, "bfloat16", "cuda"), 0.8e-3),
    LightGoal(Case("triplet_weighted", 8192, 128, 1000, device="cuda"), 1.5e-3, 32 * MIB),
)
"""Of an H100 or H200. Mining 65536 rows has a goal too, and a batch of 4096 with a million classes,
but there the oracle in float64 does not fit in memory, so no record can have times."""


def goal_rows(records: Iterable[Record]) -> Iterator[Mapping[str, str]]:
    """Yield each goal beside the measured time and memory, as the cells of a table."""
    from lossbench.bench.format import binary, si

    found = {record.case: record for record in records if record.variant == "triton"}
    for goal in GOALS:
        record = found.get(goal.case)
        step = record.step if record else None
        memory = record.memory if record else None
        yield {
            "case": f"{goal.case.loss} {goal.case}",
            "goal": si(goal.seconds, "s"),
            "step": si(step.median_seconds, "s") if step else _standing(record),
            "goal of memory": binary(goal.peak_bytes) if goal.peak_bytes else "",
            "peak": binary(memory.step_peak_bytes) if memory else "",
        }


def _standing(record: Record | None) -> str:
    return record.status if record else "not measured"
