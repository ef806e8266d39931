"""What a worker is asked: what a tree has, a variant of it judged, and two trees' timed in turn."""

from dataclasses import dataclass

import torch
from torch import nn

from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.gate.trees import Tree
from lossbench.bench.measure.agreement import measure_agreement, workload_of
from lossbench.bench.measure.counters import Counters, measure_counters
from lossbench.bench.measure.memory import Memory, measure_memory
from lossbench.bench.run.records import Status
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling, interleave

BASE, HEAD = "base", "head"
PHASES = ("forward", "step")


@dataclass(frozen=True)
class Seen:
    """What is known of a variant in one tree before it is timed.

    Attributes:
        status: as a Record's; ``passed`` also where agreement was not asked for.
        reason: of any other status, in a line.
        memory: of a step, where it passed.
        counters: of a step, where it passed.
    """

    status: Status
    reason: str = ""
    memory: Memory | None = None
    counters: Counters | None = None


def list_variants(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Return the variants of every Loss of a tree.

    Raises:
        UsageError: where it cannot be imported.
    """
    package = tree.load()
    return {
        loss.name: tuple(entry.variant for entry in package.implementations(loss.name))
        for loss in package.losses()
    }


def see(tree: Tree, case: Case, variant: str, *, judged: bool) -> Seen:
    """Judge a variant of a tree against that tree's own reference in float64, and weigh it.

    Args:
        tree: whose.
        case: what is asked.
        variant: which.
        judged: whether to hold it against the reference; without, it is weighed alone.
    """
    implementation = tree.load().implementation(case.loss, variant)
    reason = implementation.unsupported(case.device, case.held_dtype)
    if reason is not None:
        return Seen("unsupported", reason)
    if getattr(implementation, "departs", ""):
        return Seen("departs", implementation.departs)
    if judged:
        agreement = measure_agreement(case, implementation, _reference(tree, case))
        wrong = "; ".join(str(part) for part in agreement if not part.passed)
        if wrong:
            return Seen("refused", wrong)
    memory, counters = measure_memory(case, implementation), measure_counters(case, implementation)
    return Seen("passed", memory=memory, counters=counters)


def _reference(tree: Tree, case: Case) -> type[nn.Module]:
    reference: type[nn.Module] = tree.load().loss(case.loss).reference
    return reference


def sample_trees(
    trees: tuple[Tree, Tree],
    case: Case,
    variant: str,
    phases: tuple[str, ...],
    sampling: Sampling,
) -> dict[str, Timing]:
    """Return the head's times of a variant beside the base's of the same rounds, a phase each.

    Both compute on the same leaves, and from the same state.

    Args:
        trees: named ``base`` and ``head``, in the order in which their modules are made: whatever
            is made later has another place in memory.
        case: what is asked.
        variant: which.
        phases: ``forward``, ``step`` or both.
        sampling: of each phase.
    """
    torch.compiler.reset()
    workload = workload_of(case)
    inputs = workload.leaves()
    calls = {
        tree.name: prepare_calls(
            workload, workload.module(tree.load().implementation(case.loss, variant)), inputs
        )
        for tree in trees
    }
    resets = {name: call.reset for name, call in calls.items()}
    found = {}
    for phase in phases:
        timed = {name: getattr(call, phase) for name, call in calls.items()}
        found[phase] = interleave(timed, BASE, sampling, resets, case.device)[HEAD]
    return found
