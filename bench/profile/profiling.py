"""Profile a variant: run its steps in a worker, then make a table and pictures of their trace."""

from dataclasses import dataclass
from pathlib import Path

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import writing
from lossbench.bench.limits import COMMAND_SECONDS
from lossbench.bench.machine.worker import Worker
from lossbench.bench.profile.flame import merge, write_flame_graph
from lossbench.bench.profile.live import Peak, live_bytes, peak_of, plot_live
from lossbench.bench.profile.recording import Operator, record_steps, trace_path
from lossbench.bench.profile.trace import read_trace


@dataclass(frozen=True)
class Profile:
    """The profile of a variant.

    Attributes:
        operators: operators of all steps, the one with the most time of its own first.
        peak: peak of the live memory over the first step.
        files: paths of the trace, the memory plot and the flame graph.
    """

    operators: tuple[Operator, ...]
    peak: Peak
    files: tuple[Path, ...]


def profile_folder(out: Path, case: Case) -> Path:
    """Make and return the folder of a Case, which TensorBoard calls a run.

    Raises:
        UsageError: if it cannot be made.
    """
    autocast = "-autocast" * case.autocast
    sizes = f"{case.batch}x{case.dim}-C{case.classes}"
    folder = out / f"{case.loss}-{sizes}-{case.dtype}{autocast}-{case.device}"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def profile_variant(worker: Worker, case: Case, variant: str, steps: int, folder: Path) -> Profile:
    """Profile steps of a variant, and write the trace and its pictures to a folder.

    Raises:
        Lost: if the worker cannot run the steps.
    """
    operators = worker.ask(COMMAND_SECONDS, record_steps, case, variant, steps, folder)
    file = trace_path(folder, variant)
    trace = read_trace(file, case.device)
    step = trace.steps[0]
    live = live_bytes(trace, step)
    plot, flame = folder / f"{variant}.memory.svg", folder / f"{variant}.flame.html"
    title = f"{case.loss} {variant}, {case}"
    plot_live(live, step, title, plot)
    write_flame_graph(merge(trace.steps), title, flame)
    return Profile(operators, peak_of(live, step), (file, plot, flame))
