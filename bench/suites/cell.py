"""A cell: one variant of one Case, measured once for all the figures that asv asks for.

asv takes every figure in a process of its own. The first that is asked for measures all of them,
and leaves the others in a file in the working directory, which asv keeps for one run over one
commit. A figure is taken out of the file: asked for again, as in asv's next round, it is measured
anew.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lossbench.bench.metrics import STEP_RATIO, TRACKED
from lossbench.bench.suites.parameters import COMPILED_BY_DEFAULT, MODES

if TYPE_CHECKING:
    from lossbench import impls
    from lossbench.bench.case.cases import Case
    from lossbench.bench.case.workload import Workload
    from lossbench.bench.measure.agreement import Agreement
    from lossbench.bench.measure.compilation import WarmCompilation
    from lossbench.bench.measure.counters import Counters
    from lossbench.bench.measure.memory import Memory
    from lossbench.bench.timing.samples import Timing

# Which of the compiled variants are measured: "all", or those of COMPILED_BY_DEFAULT.
CHOICE = "LOSSBENCH_COMPILED"
# Of each phase, in each round.
BUDGET_SECONDS = 0.1


@dataclass(frozen=True)
class AsvCell:
    """A variant of a Case, as asv's parameters have it."""

    loss: str
    variant: str
    dtype: str
    dim: int
    classes: int
    device: str
    batch: int

    @property
    def compiled(self) -> bool:
        """Whether it is compiled, by asv's own list: an older commit cannot be asked."""
        return self.variant.endswith(MODES)

    @property
    def path(self) -> Path:
        """The file of its findings."""
        return Path("-".join(map(str, asdict(self).values())) + ".json")


@dataclass(frozen=True)
class Findings:
    """What was measured of a cell.

    Attributes:
        values: the figures by name that nobody has taken yet.
        reason: why there are no others; empty where nothing is left out.
    """

    values: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Measured:
    """The part of a Record that figures are read off, under a Record's names.

    Attributes:
        case: the Case.
        variant: the variant's name.
        agreement: the agreement with the oracle, a quantity each.
        memory: bytes of a step, where the variant agrees.
        counters: what a step dispatches, where the variant agrees.
        forward: times of a forward, where the variant agrees.
        step: times of a step, where the variant agrees.
        compilation: cost of compiling with an empty cache, where the variant is compiled and
            agrees.
    """

    case: "Case"
    variant: str
    agreement: "tuple[Agreement, ...]"
    memory: "Memory | None" = None
    counters: "Counters | None" = None
    forward: "Timing | None" = None
    step: "Timing | None" = None
    compilation: "WarmCompilation | None" = None


def metric_of(cell: AsvCell, name: str) -> Any:
    """Return one figure of a cell: a number, or samples as asv takes them.

    Raises:
        SkipNotImplemented: where this commit, this machine or this variant has none.
    """
    from lossbench.impls.registry import REFERENCE

    if (cell.variant, name) == (REFERENCE, STEP_RATIO):
        skip("it is the reference itself that the others are compared with")
    found = _read(cell)
    if name not in found.values and not found.reason:
        # Found by the next, where this process does not live to tell: a hang costs its time once.
        _write(cell, Findings(reason="an earlier attempt failed, or did not end"))
        found = measure_cell(cell)
    value = found.values.pop(name, None)
    _write(cell, found)
    if value is None:
        skip(found.reason or "this variant has no such figure")
    return value


def _read(cell: AsvCell) -> Findings:
    return Findings(**json.loads(cell.path.read_text())) if cell.path.exists() else Findings()


def _write(cell: AsvCell, found: Findings) -> None:
    cell.path.write_text(json.dumps(asdict(found)))


def measure_cell(cell: AsvCell) -> Findings:
    """Measure a cell, or tell why it cannot be."""
    try:
        found = _look_up(cell)
    except (AttributeError, ImportError) as error:
        return Findings(reason=f"this commit lacks what the harness measures: {error}")
    return Findings(reason=found) if isinstance(found, str) else _measure(cell, found)


def _look_up(cell: AsvCell) -> "impls.Implementation | str":
    """Return what this commit has registered, or why it is not measured here."""
    import torch

    from lossbench import impls

    if cell.loss not in {loss.name for loss in impls.losses()}:
        return f"this commit has no loss {cell.loss}"
    registered = {found.variant: found for found in impls.implementations(cell.loss)}
    if cell.variant not in registered:
        return f"{cell.loss} has no variant {cell.variant} at this commit"
    if cell.device == "cuda" and not torch.cuda.is_available():
        return "there is no CUDA device here"
    chosen = (cell.loss, cell.variant) in COMPILED_BY_DEFAULT or os.environ.get(CHOICE) == "all"
    if cell.compiled and not chosen:
        return f"left out, as compiling takes its time; {CHOICE}=all measures it"
    return registered[cell.variant]


def _measure(cell: AsvCell, implementation: "impls.Implementation") -> Findings:
    from lossbench.bench.case.cases import Case
    from lossbench.bench.measure.agreement import workload_of
    from lossbench.bench.measure.judge import judge

    case = Case(cell.loss, cell.batch, cell.dim, cell.classes, cell.dtype, cell.device)
    workload = workload_of(case)
    runs = implementation.unsupported(case.device, case.held_dtype) is None
    # First, since whatever ran before would have compiled it.
    compilation = _compile(workload, implementation) if runs and cell.compiled else None
    found = judge(case, implementation)
    if found.status in ("unsupported", "departs"):
        return Findings(reason=found.reason)
    measured = Measured(case, cell.variant, found.agreement, found.memory, found.counters)
    if found.status == "refused":
        return Findings(tracked_figures(measured), found.reason)
    forward, step = _sample(workload, implementation)
    return Findings(
        tracked_figures(replace(measured, forward=forward, step=step, compilation=compilation))
    )


def tracked_figures(measured: "Measured") -> dict[str, Any]:
    """Return what asv keeps of a variant that was measured: numbers, or samples, by name."""
    found = {m.asv_name: ((m.asv and m.asv.samples) or m.of)(measured) for m in TRACKED}
    return {name: value for name, value in found.items() if value is not None}


def _compile(workload: "Workload", implementation: "impls.Implementation") -> "WarmCompilation":
    """Return what compiling costs where no earlier process has left any code."""
    # Empty, and read at each use. asv removes the working directory in the end.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(dir=Path.cwd())
    from lossbench.bench.measure.compilation import measure_warm_compilation

    return measure_warm_compilation(workload, workload.module(implementation))


def _sample(
    workload: "Workload", implementation: "impls.Implementation"
) -> tuple["Timing", "Timing"]:
    """Return the times of forward and step beside the reference's, in rounds of both."""
    from lossbench import impls
    from lossbench.bench.measure.judge import sample_modules
    from lossbench.bench.timing.sampling import Sampling
    from lossbench.impls.registry import REFERENCE

    reference = impls.implementation(workload.case.loss, REFERENCE)
    modules = {entry.variant: workload.module(entry) for entry in (reference, implementation)}
    forward, step = sample_modules(workload, modules, Sampling(BUDGET_SECONDS))
    return forward[implementation.variant], step[implementation.variant]


def skip(reason: str) -> NoReturn:
    """Have asv skip a benchmark.

    Raises:
        SkipNotImplemented: always.
    """
    from asv_runner.benchmarks.mark import SkipNotImplemented

    # asv keeps no reason; `asv run --show-stderr` shows what is printed.
    print(f"skipped: {reason}")
    raise SkipNotImplemented(reason)
