"""Measure a cell, one variant of one Case, once for all the figures that asv wants.

asv runs every benchmark in its own process. The first one measures all figures of the cell, and
writes the others to a file in the working directory, which asv keeps for one run over one commit.
A figure that is read is removed from the file, so asv's next round measures it again.
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

# The environment variable that selects compiled variants: "all", or only COMPILED_BY_DEFAULT.
CHOICE = "LOSSBENCH_COMPILED"
# The sampling time of each phase in each round.
BUDGET_SECONDS = 0.1


@dataclass(frozen=True)
class AsvCell:
    """A variant of a Case, with asv's parameters as fields."""

    loss: str
    variant: str
    dtype: str
    dim: int
    classes: int
    device: str
    batch: int

    @property
    def compiled(self) -> bool:
        """Whether the variant is compiled, by its name; an old registry may not say it."""
        return self.variant.endswith(MODES)

    @property
    def path(self) -> Path:
        """The file of the cell's figures."""
        return Path("-".join(map(str, asdict(self).values())) + ".json")


@dataclass(frozen=True)
class Findings:
    """The figures of a cell.

    Attributes:
        values: figures that asv has not read yet, by name.
        reason: reason for missing figures; empty if none is missing.
    """

    values: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Measured:
    """The fields of a Record that figures are read from, under the same names.

    Attributes:
        case: case of the cell.
        variant: name of the variant.
        agreement: agreement with the oracle, one entry per quantity.
        memory: bytes of a step, if the variant agrees.
        counters: operators and device waits of a step, if the variant agrees.
        forward: times of a forward, if the variant agrees.
        step: times of a step, if the variant agrees.
        compilation: cost of compiling with an empty cache, if the variant is compiled and agrees.
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
    """Return one figure of a cell: a number, or samples in asv's format.

    Raises:
        SkipNotImplemented: if this commit, this machine or this variant has no such figure.
    """
    from lossbench.impls.registry import REFERENCE

    if (cell.variant, name) == (REFERENCE, STEP_RATIO):
        skip("this is the reference itself, and others are compared with it")
    found = _read(cell)
    if name not in found.values and not found.reason:
        # If this process dies or hangs, the next one reads this: a hang costs its time only once.
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
    """Return the figures of a cell, or the reason why there are none."""
    try:
        found = _look_up(cell)
    except (AttributeError, ImportError) as error:
        return Findings(reason=f"this commit lacks what the harness needs: {error}")
    return Findings(reason=found) if isinstance(found, str) else _measure(cell, found)


def _look_up(cell: AsvCell) -> "impls.Implementation | str":
    """Return this commit's implementation, or the reason why it is not measured here."""
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
        return f"left out, because compiling takes long; {CHOICE}=all includes it"
    return registered[cell.variant]


def _measure(cell: AsvCell, implementation: "impls.Implementation") -> Findings:
    from lossbench.bench.case.cases import Case
    from lossbench.bench.measure.agreement import workload_of
    from lossbench.bench.measure.judge import judge
    from lossbench.bench.measure.trial import WrongWhenTimed

    case = Case(cell.loss, cell.batch, cell.dim, cell.classes, cell.dtype, cell.device)
    workload = workload_of(case)
    runs = implementation.unsupported(case.device, case.held_dtype) is None
    # Measured first, because any earlier step would compile the variant and fill the cache.
    compilation = _compile(case, cell.variant) if runs and cell.compiled else None
    found = judge(case, implementation)
    if found.status in ("unsupported", "departs"):
        return Findings(reason=found.reason)
    measured = Measured(case, cell.variant, found.agreement, found.memory, found.counters)
    if found.status == "refused":
        return Findings(tracked_figures(measured), found.reason)
    try:
        forward, step = _sample(workload, implementation)
    except WrongWhenTimed as wrong:
        return Findings(tracked_figures(measured), str(wrong))
    return Findings(
        tracked_figures(replace(measured, forward=forward, step=step, compilation=compilation))
    )


def tracked_figures(measured: "Measured") -> dict[str, Any]:
    """Return the figures that asv stores, by name: numbers or samples."""
    found = {m.asv_name: ((m.asv and m.asv.samples) or m.of)(measured) for m in TRACKED}
    return {name: value for name, value in found.items() if value is not None}


def _compile(case: "Case", variant: str) -> "WarmCompilation":
    """Return the cost of compiling with an empty cache; asv has imported the compiler before."""
    # The compiler reads this at each use. asv removes the working directory at the end.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(dir=Path.cwd())
    from lossbench.bench.measure.compilation import measure_warm_compilation

    return measure_warm_compilation(case, variant)


def _sample(
    workload: "Workload", implementation: "impls.Implementation"
) -> tuple["Timing", "Timing"]:
    """Return the times of forward and step, sampled in the same rounds as the reference's.

    Raises:
        WrongWhenTimed: if the results were wrong when they were timed.
    """
    from lossbench import impls
    from lossbench.bench.measure.trial import PHASES, WrongWhenTimed, sample_modules
    from lossbench.bench.timing.sampling import Sampling
    from lossbench.impls.registry import REFERENCE

    reference = impls.implementation(workload.case.loss, REFERENCE)
    modules = {entry.variant: workload.module(entry) for entry in (reference, implementation)}
    sampled = sample_modules(workload, modules, Sampling(BUDGET_SECONDS))
    if implementation.variant in sampled.refusals:
        raise WrongWhenTimed(sampled.refusals[implementation.variant])
    forward, step = (sampled.timings[phase][implementation.variant] for phase in PHASES)
    return forward, step


def skip(reason: str) -> NoReturn:
    """Make asv skip a benchmark.

    Raises:
        SkipNotImplemented: always.
    """
    from asv_runner.benchmarks.mark import SkipNotImplemented

    # asv stores no reason, but `asv run --show-stderr` shows what is printed.
    print(f"skipped: {reason}")
    raise SkipNotImplemented(reason)
