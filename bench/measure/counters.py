"""Count what noise does not change: operators, waits for the device and instructions."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from torch.utils.benchmark import Timer

from lossbench import impls
from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.feed import Feed
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.profiler import new_profiler
from lossbench.bench.measure.agreement import workload_of
from lossbench.bench.paths import IMPORT_FOLDER

# The CPU needs the results of these operators before it continues, so on CUDA each of them waits.
WAITING = ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::_unique2")

# An operator of torch or of a library, such as ``aten::add``; the profiler also records the work of
# autograd, such as ``autograd::engine::evaluate_function: MulBackward0``.
OPERATOR = re.compile(r"\w+::\w+")


@dataclass(frozen=True)
class Counters:
    """The counts of one step.

    Attributes:
        operators: number of calls of operators, of torch or of a library, including calls by other
            operators.
        synchronisations: number of calls that wait for the GPU: to read a value back, or to make a
            result with a size that depends on values; 0 if it does not run on CUDA.
    """

    operators: int
    synchronisations: int


def measure_counters(case: Case, implementation: impls.Implementation) -> Counters:
    """Return the counts of one step of an implementation, after a step to warm up."""
    step = step_of(case, implementation)
    with new_profiler() as profiler:
        step()
    names = [event.name for event in profiler.events() or ()]
    waits = sum(name in WAITING for name in names)
    return Counters(
        operators=sum(OPERATOR.fullmatch(name) is not None for name in names),
        synchronisations=waits if "cuda" in implementation.devices else 0,
    )


def step_of(case: Case, implementation: impls.Implementation) -> Callable[[], object]:
    """Return a function that runs one step of an implementation; it has already run once.

    The checks of inputs are left out: on the CPU they read values, on CUDA they do not.
    """
    workload = workload_of(case)
    return prepare_calls(workload.module(implementation, validate=False), Feed(workload)).step


def count_instructions(case: Case, variant: str) -> int:
    """Return the CPU instructions of one step, counted by valgrind's callgrind.

    The step runs in a process of its own, on one thread, which takes a minute or two. Two counts
    of one build agree to about 0.05%.

    Raises:
        UsageError: if valgrind is not installed.
    """
    # Older commits, which asv measures with this module, have no contenders from outside.
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
