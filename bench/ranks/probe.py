"""Measure what the model needs: the links of real ranks, and what one of many ranks computes."""

import statistics
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.measure.memory import footprints
from lossbench.bench.ranks.group import imagined_beside, imagined_ranks
from lossbench.bench.ranks.model import TimedCollective
from lossbench.bench.ranks.pace import LeadingClock, Pace
from lossbench.bench.ranks.parts import RankPart, joined_batch, shard_bytes
from lossbench.bench.ranks.traffic import Collective, Traffic, traffic_of
from lossbench.bench.timing.clock import Timed
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling, interleave, interleave_clocks
from lossbench.impls.sharded.collectives import all_gather, all_reduce, reduce_scatter
from lossbench.impls.sharded.ranks import Ranks

# Bytes that each rank gives: the latency shows in the first, the bandwidth in the last.
GIVEN_BYTES = (2**6, 2**12, 2**16, 2**20, 2**22)
CALLS, WARM_CALLS = 25, 5


@dataclass(frozen=True)
class RankCost:
    """What one of many ranks computes, sends and allocates in a step.

    Attributes:
        computed_seconds: median time of a step, with collectives that return at once.
        traffic: collectives of a step.
        parameter_bytes: bytes of the parameters on the rank.
        peak_bytes: bytes of a step beside inputs and parameters.
    """

    computed_seconds: float
    traffic: Traffic
    parameter_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class MeasuredStep:
    """A measured step of real ranks.

    Attributes:
        step_seconds: median time of a step, of the slowest rank.
        computed_seconds: median time with collectives that return at once.
        traffic: collectives of a step.
    """

    step_seconds: float
    computed_seconds: float
    traffic: Traffic


def sample_collectives(ranks: Ranks) -> list[TimedCollective]:
    """Return the median times of collectives of several sizes; empty but on rank 0."""
    asked = [Collective(kind, size) for kind in CALL for size in GIVEN_BYTES]
    pace = Pace([_timed(each, ranks) for each in asked], ranks)
    if ranks.index:
        pace.follow()
        return []
    found = []
    for number, collective in enumerate(asked):
        pace.lead(number, WARM_CALLS)
        seconds = [pace.lead(number, 1) for _ in range(CALLS)]
        found.append(TimedCollective(collective, statistics.median(seconds)))
    pace.end()
    return found


CALL = {
    "all-gather": all_gather,
    "all-reduce": lambda tensor, ranks: all_reduce(tensor, "sum", ranks),
    "reduce-scatter": reduce_scatter,
}


def _timed(collective: Collective, ranks: Ranks) -> Timed:
    # Every number of ranks divides its elements.
    tensor = torch.zeros(ranks.count * max(1, collective.given_bytes // (4 * ranks.count)))
    return Timed(lambda: CALL[collective.kind](tensor, ranks))


class FixedStep:
    """A step of one rank on inputs that stay, with other ranks that are there or imagined."""

    def __init__(self, case: Case, variant: str, ranks: Ranks) -> None:
        """Build the module on this rank; the inputs are as many on all ranks."""
        own = replace(case, batch=case.batch // case.ranks, ranks=1)
        workload = Workload.of(own, draws=1)
        self._part = RankPart(workload, impls.implementation(case.loss, variant), ranks)
        self._batch = joined_batch(ranks, case.batch)
        self._own = workload.leaves()
        self._targets = list(self._part.targets(self._own).values())

    def forward(self, _: object = None) -> Any:
        """Run a forward."""
        return self._part.outputs(self._own, self._batch)

    def backward(self, out: Any) -> tuple[Tensor | None, ...]:
        """Run a backward."""
        return self._part.gradients(out, self._targets, self._batch, None)

    def __call__(self) -> object:
        """Run a forward and a backward."""
        return self.backward(self.forward())

    def traffic(self) -> Traffic:
        """Return the collectives of a step."""
        return traffic_of(self)

    def cost(self, seconds: float) -> RankCost:
        """Return what a step costs, with its time."""
        peaks = footprints((self.forward, self.backward), "cpu")
        held = sum(shard_bytes(each) for each in self._part.module.parameters())
        return RankCost(seconds, self.traffic(), held, max(each.peak_bytes for each in peaks))


def rank_costs(case: Case, variants: tuple[str, ...], sampling: Sampling) -> dict[str, RankCost]:
    """Return what rank 0 of a Case's ranks computes in each variant, without the others."""
    with imagined_ranks(case.ranks) as ranks:
        steps = {name: FixedStep(case, name, ranks) for name in variants}
        timed = {name: Timed(step) for name, step in steps.items()}
        timings = interleave(timed, variants[0], sampling)
        return {name: step.cost(timings[name].median_seconds) for name, step in steps.items()}


def sample_beside_imagined(
    ranks: Ranks, case: Case, variants: tuple[str, ...], sampling: Sampling
) -> dict[str, MeasuredStep]:
    """Return the times of a step with real collectives and without; empty but on rank 0.

    All ranks run at once in both, so that the computation has the same share of the machine.
    """
    alone = imagined_beside(ranks)
    steps: dict[tuple[str, bool], FixedStep] = {
        (name, real): FixedStep(case, name, ranks if real else alone)
        for name in variants
        for real in (True, False)
    }
    pace = Pace([Timed(step) for step in steps.values()], ranks)
    if ranks.index:
        pace.follow()
        return {}
    clocks = {f"{name} {real}": LeadingClock(pace, n) for n, (name, real) in enumerate(steps)}
    timings = interleave_clocks(clocks, f"{variants[0]} True", sampling)
    pace.end()
    return {
        name: MeasuredStep(
            timings[f"{name} True"].median_seconds,
            _paired_seconds(timings[f"{name} False"], timings[f"{name} True"]),
            steps[name, False].traffic(),
        )
        for name in variants
    }


def _paired_seconds(timing: Timing, other: Timing) -> float:
    """Return the time by its ratio to another in the same rounds, which load changes less."""
    mine, theirs = timing.speedup, other.speedup
    if mine is None or theirs is None:
        return timing.median_seconds
    return other.median_seconds * theirs.median / mine.median
