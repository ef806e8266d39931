"""Choose the Cases and variants of a run from its options, and save them in the run's folder."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, RootModel, ValidationError
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import SIZE_AXES, Case
from lossbench.bench.case.presets import Sizes, preset_grids
from lossbench.bench.errors import UsageError, unknown_name
from lossbench.bench.files import write_whole
from lossbench.bench.machine.quotas import allowed_processors
from lossbench.bench.run.order import UNREGISTERED, is_registered
from lossbench.bench.timing.sampling import HALF_WIDTH
from lossbench.impls.outside import Origin, origin_of, register_again
from lossbench.impls.registry import REFERENCE

PLAN = "plan.json"
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class RunPlan:
    """The settings of a run, saved beside its Records so that it can be resumed.

    Attributes:
        tasks: Cases in order, each with the variants to measure in it.
        budget_seconds: time to sample one phase of one Case, over all processes.
        timeout_seconds: time without an answer after which a variant is given up.
        threads: number of threads that torch computes with; 0 for the default of each worker of an
            engine.
        machine: name of this machine.
        affinity: numbers of the CPUs that the run may use; empty for all.
        processes: number of processes that sample each Case, one after the other; with 1, the
            process that compared the variants samples too.
        memory_bytes: largest memory that a worker may allocate; by default most of the available.
        half_width: relative half-width of a speed-up's interval at which a process stops sampling.
        outside: files and modules from outside lossbench that registered some of the variants.
        validate: whether the timed modules check their inputs, as they do by default.
        graphs: whether steps that are replayed as CUDA graphs are timed too.
        engine: engine that hands the Cases to workers, as --on takes it; empty to measure here.

    Raises:
        ValueError: if a run without an engine has no number of threads.
    """

    tasks: tuple[tuple[Case, tuple[str, ...]], ...]
    budget_seconds: Seconds
    timeout_seconds: Seconds
    threads: NonNegativeInt
    machine: str
    affinity: tuple[int, ...] = ()
    processes: PositiveInt = 1
    memory_bytes: PositiveInt | None = None
    half_width: PositiveFloat = HALF_WIDTH
    outside: tuple[Origin, ...] = ()
    validate: bool = True
    graphs: bool = False
    engine: str = ""

    def __post_init__(self) -> None:
        """Check that the number of threads is known where no worker chooses it."""
        if not (self.threads or self.engine):
            raise ValueError("a run on this machine must have a number of threads")

    @property
    def ranks(self) -> int:
        """The number of processes that compute each loss together."""
        return max((case.ranks for case, _ in self.tasks), default=1)

    @property
    def cells(self) -> list[tuple[Case, str]]:
        """Every variant of every Case."""
        return [(case, variant) for case, variants in self.tasks for variant in variants]


class RunPlanFile(RootModel[RunPlan]):
    """A RunPlan as JSON."""


def start_run(folder: Path, plan: RunPlan) -> None:
    """Make the folder of a new run; its plan names the origin of variants from outside lossbench.

    Raises:
        UsageError: if the folder has a run already, or cannot be made.
    """
    if (folder / PLAN).exists():
        raise UsageError(f"{folder} has a run already; --resume {folder} continues it")
    found = {origin_of(case.loss, variant): None for case, variant in plan.cells}
    plan = replace(plan, outside=tuple(filter(None, found)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / PLAN, RunPlanFile(plan).model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; expected a folder to write to") from error


def read_plan(folder: Path) -> RunPlan:
    """Return the RunPlan of a run's folder.

    Raises:
        UsageError: if the folder has no plan, the plan cannot be read, or it names processors that
            this process may not use.
    """
    try:
        plan = RunPlanFile.model_validate_json((folder / PLAN).read_bytes()).root
    except OSError:
        raise UsageError(f"{folder} has no run: there is no {PLAN}") from None
    except ValidationError:
        raise UsageError(f"{folder / PLAN} is damaged; start a new run") from None
    missing = set(plan.affinity) - set(allowed_processors()) if plan.affinity else set()
    if missing:
        raise UsageError(
            f"{folder / PLAN} names processors that this process may not use: "
            f"{', '.join(map(str, sorted(missing)))}; resume it where it began, or start a new run"
        )
    return plan


def register_planned(plan: RunPlan) -> None:
    """Register the contenders from outside lossbench that a plan names.

    Raises:
        UsageError: if one cannot be imported, or its code has changed since the run began.
    """
    try:
        register_again(plan.outside)
    except ValueError as error:
        raise UsageError(f"{error}; restore it, or start a new run") from error


def drop_unregistered(plan: RunPlan) -> tuple[RunPlan, list[str]]:
    """Return the part of a plan that can still be measured, and one line per variant that cannot.

    A variant may have been removed from the registry before the run is resumed.
    """
    gone = Counter(
        f"{case.loss} {variant}"
        for case, variant in plan.cells
        if not is_registered(case.loss, variant)
    )
    tasks = (
        (case, tuple(name for name in variants if is_registered(case.loss, name)))
        for case, variants in plan.tasks
    )
    kept = replace(plan, tasks=tuple((case, names) for case, names in tasks if names))
    return kept, [f"skipped {name} in {n} cases: {UNREGISTERED}" for name, n in gone.items()]


def choose_tasks(
    preset: str | None,
    losses: tuple[str, ...],
    variants: tuple[str, ...],
    device: str,
    given: Mapping[str, Any],
    compiled: bool | None = None,
    ranks: int = 1,
) -> tuple[tuple[Case, tuple[str, ...]], ...]:
    """Return the Cases to measure, each with its variants.

    Args:
        preset: name of the preset with the grids; ``None`` for one default size.
        losses: names of the losses to measure; empty for all.
        variants: names of the variants to measure, in addition to the reference; empty for all
            that run on the device.
        device: ``cpu`` or ``cuda``.
        given: values for axes of the grids, by the name of the axis. Sizes choose among those of
            the preset; a dtype or kind of data replaces the preset's.
        compiled: whether to measure ``+compile`` variants; ``None`` to do as the preset says.
        ranks: number of processes that compute each loss together.

    Raises:
        UsageError: if a size is impossible, the preset has none of the losses or none of the sizes
            for them, or no chosen loss has one of the named variants.
    """
    sizes = {axis: given[axis] for axis in SIZE_AXES if axis in given}
    grids = preset_grids(preset, losses, sizes) if preset else [Sizes(losses, **sizes)]
    tasks: dict[Case, tuple[str, ...]] = {}
    for grid in grids:
        changes = {axis: values for axis, values in given.items() if axis not in SIZE_AXES}
        if "dtype" in given:
            # Tensors must have a given dtype, so the grid's autocast is off unless given too.
            changes.setdefault("autocast", False)
        if compiled is not None:
            changes["compiled"] = compiled
        changed = replace(grid, **changes)
        for each in changed.cases(device):
            case = replace(each, ranks=ranks).checked()
            tasks.setdefault(case, choose_variants(case, variants, compiled=changed.compiled))
    check_variants(list(dict.fromkeys(case.loss for case in tasks)), variants)
    return tuple(tasks.items())


def choose_variants(case: Case, variants: tuple[str, ...], *, compiled: bool) -> tuple[str, ...]:
    """Return the variants to measure in a Case, the reference first."""
    return tuple(
        implementation.variant
        for implementation in impls.implementations(case.loss)
        if implementation.variant in (REFERENCE, *variants)
        or (
            not variants
            and (implementation.is_for(case.device) or _joins(implementation, case))
            and (compiled or not implementation.compiled)
        )
    )


def _joins(implementation: impls.Implementation, case: Case) -> bool:
    """Return whether an implementation is for several ranks, and the Case has them."""
    joins = case.ranks > 1 and implementation.joins_batches
    return joins and case.device in implementation.devices


def check_variants(losses: Sequence[str], variants: Iterable[str]) -> None:
    """Check that every named variant is a variant of one of the losses.

    Raises:
        UsageError: if one is not; the message lists the variants of the losses.
    """
    known = dict.fromkeys(each.variant for loss in losses for each in impls.implementations(loss))
    for name in variants:
        if name not in known:
            raise UsageError(unknown_name("variant", name, list(known), of=", ".join(losses)))


def choose_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes CUDA if there is a device.

    Raises:
        UsageError: if CUDA is asked for and there is no device.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UsageError(
            f"no CUDA device: torch {torch.__version__} finds none here; use --device cpu"
        )
    if device == "auto":
        return "cuda" if available else "cpu"
    return device
