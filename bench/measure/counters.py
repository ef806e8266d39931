"""Counts that a machine's noise does not reach: operators, waits for the device, instructions."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

from lossbench import impls
from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.measure.agreement import workload_of
from lossbench.bench.paths import IMPORT_FOLDER

# The processor must see their results before it goes on: on CUDA each waits for the device.
WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::_unique2")


@dataclass(frozen=True)
class Counters:
    """What one step dispatches.

    Attributes:
        operators: calls of torch's operators, those that others are made of included.
        synchronisations: calls for which a GPU's queue must run empty: a value read back, or a
            result whose size depends on values.
    """

    operators: int
    synchronisations: int


def measure_counters(case: Case, implementation: impls.Implementation) -> Counters:
    """Return the counts of one step of an implementation, after a step to warm it up."""
    step = step_of(case, implementation)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    names = [event.name for event in profiler.events() or ()]
    return Counters(
        operators=sum(name.startswith("aten::") for name in names),
        synchronisations=sum(name in WAITING for name in names),
    )


def step_of(case: Case, implementation: impls.Implementation) -> Callable[[], object]:
    """Return one step of an implementation, already taken once."""
    workload = workload_of(case)
    return prepare_calls(workload, workload.module(implementation), workload.leaves()).step


def count_instructions(case: Case, variant: str) -> int:
    """Return the processor's instructions of one step, counted by valgrind's callgrind.

    It runs the step in a process of its own, on one thread, for a minute or two. Two counts of one
    build agree to some 0.05%.

    Raises:
        UsageError: where valgrind is not installed.
    """
    # Here, since asv and the gate count operators of commits that had no such module.
    from lossbench.impls.outside import loaded

    if shutil.which("valgrind") is None:
        raise UsageError("instructions are counted by valgrind, which is not installed here")
    timer = Timer(
        "step()",
        setup=(
            f"import sys; sys.path.insert(0, {str(IMPORT_FOLDER)!r})\n"
            "from lossbench import impls\n"
            "from lossbench.bench.case.cases import Case\n"
            "from lossbench.bench.measure.counters import step_of\n"
            "from lossbench.impls.outside import Origin, register_again\n"
            f"register_again({loaded()!r})\n"
            f"step = step_of({case!r}, impls.implementation({case.loss!r}, {variant!r}))"
        ),
        num_threads=1,
    )
    stats = timer.collect_callgrind(1, repeats=None, collect_baseline=False, retain_out_file=False)
    return int(stats.counts(denoise=False))
