"""Check and time variants on several ranks; every rank calls the same functions."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
import torch.distributed as dist

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.draws import draw_of
from lossbench.bench.case.feed import Feed
from lossbench.bench.measure.agreement import (
    Agreement,
    expect,
    expectations,
    workload_of,
)
from lossbench.bench.measure.judge import Judgement, RefusedTimes, Times
from lossbench.bench.measure.memory import Memory, memory_of_step
from lossbench.bench.ranks.calls import RankCalls, RankInputs, whole_quantities
from lossbench.bench.ranks.pace import LeadingClock, Pace
from lossbench.bench.ranks.parts import RankPart, joined_batch, own_part
from lossbench.bench.ranks.traffic import traffic_of
from lossbench.bench.timing.clock import Timed
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling, interleave_clocks
from lossbench.impls.registry import REFERENCE
from lossbench.impls.sharded.ranks import Ranks

T = TypeVar("T")
# Calls of each variant that are checked after the timing.
CHECKED_CALLS = 2


def judge_part(ranks: Ranks, case: Case, variant: str) -> Judgement:
    """Check a variant, and count its bytes and its traffic on this rank."""
    implementation = impls.implementation(case.loss, variant)
    unsupported = implementation.unsupported(case.device, case.held_dtype)
    if unsupported is not None:
        return Judgement("unsupported", unsupported)
    agreement = agreement_of_ranks(ranks, case, implementation)
    wrong = "; ".join(str(part) for part in agreement if not part.passed)
    if wrong and not implementation.departs:
        return Judgement("refused", wrong, agreement)
    part = RankPart(workload_of(case), implementation, ranks)
    calls = RankCalls(part, RankInputs(Feed(workload_of(case), case.seed), ranks))
    return Judgement(
        "departs" if implementation.departs else "passed",
        implementation.departs,
        agreement,
        memory_of_rank(calls),
        traffic=traffic_of(calls.step),
    )


def joined_judgement(parts: Sequence[Judgement]) -> Judgement:
    """Return one judgement of all ranks: the first that has not passed, with the most memory."""
    worst = next((part for part in parts if part.status != "passed"), parts[0])
    memories = [part.memory for part in parts if part.memory]
    most = max(memories, key=lambda memory: memory.step_peak_bytes, default=None)
    return replace(worst, memory=most and worst.memory and most)


def agreement_of_ranks(
    ranks: Ranks, case: Case, implementation: impls.Implementation
) -> tuple[Agreement, ...]:
    """Return the errors of a variant against the oracle on the joined batch, one per quantity."""
    workload, expected = workload_of(case), expectations(case)
    part = RankPart(workload, implementation, ranks)
    found = []
    for draw, each in enumerate(expected):
        if not draw_of(draw).follows:
            workload.reset(part.module, draw)
        leaves = workload.leaves(draw)
        batch = joined_batch(ranks, len(next(iter(leaves.values()))))
        own = own_part(leaves, batch)
        targets = part.targets(own)
        out = part.outputs(own, batch)
        cotangent = workload.cotangents[draw]
        gradients = part.gradients(out, list(targets.values()), batch, cotangent)
        found.append(each.check(whole_quantities(part, batch, targets, (out, gradients))))
    return tuple(max(parts, key=lambda one: one.budget_share) for parts in zip(*found, strict=True))


def memory_of_rank(calls: RankCalls) -> Memory:
    """Return the memory of one step on this rank, after a step to warm up."""
    device = calls.inputs.feed.workload.case.device
    calls.step()
    return memory_of_step(lambda _: calls.forward(), calls.backward, device)


def sample_part(
    ranks: Ranks, case: Case, variants: tuple[str, ...], sampling: Sampling, *, validate: bool
) -> dict[str, Times | RefusedTimes]:
    """Return the times of variants, interleaved; empty but on rank 0.

    Of each call the slowest rank's time counts. A variant that gave wrong results when it was
    timed is refused.

    Args:
        ranks: ranks that compute the loss.
        case: case to time the variants in.
        variants: names of the variants, the reference among them if the others are compared.
        sampling: sampling of each phase.
        validate: whether the modules check their inputs, as they do by default.
    """
    feed = Feed(workload_of(case), _shared_seed(ranks))
    inputs = RankInputs(feed, ranks)
    calls = {
        name: RankCalls(
            RankPart(
                feed.workload, impls.implementation(case.loss, name), ranks, validate=validate
            ),
            inputs,
        )
        for name in variants
    }
    timings = {phase: _sampled(calls, phase, sampling, ranks) for phase in ("forward", "step")}
    reasons = {name: _fault_when_timed(each) for name, each in calls.items()}
    if ranks.index:
        return {}
    return {
        name: RefusedTimes(f"when timed: {reasons[name]}")
        if reasons[name]
        else Times(timings["forward"][name], timings["step"][name])
        for name in variants
    }


def _shared_seed(ranks: Ranks) -> int:
    """Return a seed that no contender can know, the same on every rank."""
    seed = torch.tensor([secrets.randbits(62)])
    dist.broadcast(seed, group=ranks.group, group_src=0)
    return int(seed)


def _sampled(
    calls: Mapping[str, RankCalls], phase: str, sampling: Sampling, ranks: Ranks
) -> dict[str, Timing]:
    timed = [Timed(getattr(each, phase), each.prepare) for each in calls.values()]
    pace = Pace(timed, ranks)
    if ranks.index:
        pace.follow()
        return {}
    clocks = {name: LeadingClock(pace, number) for number, name in enumerate(calls)}
    found = interleave_clocks(clocks, REFERENCE, sampling, belonging=pace.others)
    pace.end()
    return found


def _fault_when_timed(calls: RankCalls) -> str:
    """Return what is wrong with a call like the timed ones, in one line; empty if nothing is."""
    feed, wrong = calls.inputs.feed, list[str]()
    for _ in range(CHECKED_CALLS):
        content = feed.draw()
        calls.give(content)
        values = calls.whole(calls.step())
        (expected,) = expect(feed.workload_of(content))
        wrong += [str(part) for part in expected.check(values) if not part.passed]
    return "; ".join(wrong)
