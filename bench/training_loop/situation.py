"""What a situation of a training loop is, and what an implementation is found to do in it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from lossbench.bench.machine.replies import describe
from lossbench.bench.training_loop.trainee import LoopSizes, Trainee
from lossbench.impls.registry import REFERENCE

Fitness = Literal["right", "limit", "worse", "-"]

SMALLER = tuple(LoopSizes(*sizes) for sizes in ((1, 1, 2), (2, 1, 2), (2, 2, 2), (4, 2, 2)))
"""Sizes in rising order, to find the smallest input that shows a fault."""


def _always(_trainee: Trainee) -> bool:
    return True


@dataclass(frozen=True)
class Situation:
    """One situation of a training loop.

    Attributes:
        name: the name in the matrix.
        summary: one line about the test and its expected result.
        run: the function that tries it and raises where the trainee fails. It takes the trainee
            and, in a situation of several processes, the Rank of its process.
        limit: the name, among ``impls.limits.SITUATIONS``, of the limit that excuses a refusal;
            empty where nothing does.
        applies: whether a trainee can be in this situation at all.
        processes: the number of processes that it needs.
    """

    name: str
    summary: str
    run: Callable[..., None]
    limit: str = ""
    applies: Callable[[Trainee], bool] = _always
    processes: int = 1


@dataclass(frozen=True)
class LoopFinding:
    """What a trainee does in one situation.

    Attributes:
        situation: the situation's name.
        fitness: ``right``; ``limit`` where it refuses as it is documented to; ``worse`` where it
            fails, or has a limit that it does not need; ``-`` where it cannot be in the situation.
        reason: the limit, or what went wrong and, where it was looked for, the smallest sizes that
            show it; empty where it is right.
    """

    situation: str
    fitness: Fitness
    reason: str = ""


def attempt(situation: Situation, trainee: Trainee, *rank: object) -> str:
    """Return the error that a situation ends with, in a line; empty where it ends well."""
    try:
        situation.run(trainee, *rank)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is to be found out
        return describe(error)
    return ""


def find(situation: Situation, trainee: Trainee) -> LoopFinding:
    """Return what a trainee does in a situation of one process."""
    if not situation.applies(trainee):
        return LoopFinding(situation.name, "-")
    found = judge(situation, trainee, attempt(situation, trainee))
    if found.fitness == "worse" and trainee.variant != REFERENCE:
        smallest = _smallest(situation, trainee)
        return replace(found, reason=f"{found.reason} (from {smallest} on)")
    return found


def judge(situation: Situation, trainee: Trainee, error: str) -> LoopFinding:
    """Return the finding that an error, or none, stands for."""
    limit = trainee.limit(situation.limit)
    if not error:
        reason = f"has a limit that it does not need: {limit}" if limit else ""
        return LoopFinding(situation.name, "worse" if limit else "right", reason)
    # A limit excuses a refusal, never a wrong value.
    if limit and not error.startswith("AssertionError"):
        return LoopFinding(situation.name, "limit", limit)
    return LoopFinding(situation.name, "worse", error.removeprefix("AssertionError: "))


def _smallest(situation: Situation, trainee: Trainee) -> LoopSizes:
    """Return the smallest sizes at which a trainee fails and the reference does not."""
    for sizes in SMALLER:
        small = replace(trainee, sizes=sizes)
        fails = attempt(situation, small)
        if fails and not attempt(situation, replace(small, variant=REFERENCE)):
            return sizes
    return trainee.sizes
