"""The plan of a run: which variants of which Cases, chosen by options, kept beside the Records."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import RootModel, ValidationError
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import PRESETS, Case, Sizes
from lossbench.bench.errors import UsageError
from lossbench.bench.files import write_whole
from lossbench.bench.timing.sampling import HALF_WIDTH

PLAN = "plan.json"


@dataclass(frozen=True)
class RunPlan:
    """What a run was asked to do, kept beside its Records so that it can be resumed.

    Attributes:
        tasks: the Cases, in order, each with the variants to measure in it.
        budget_seconds: how long the times of one phase of one Case may be sampled, over all
            processes.
        timeout_seconds: after how long without an answer a variant is given up.
        threads: that torch computes with.
        machine: the name that this machine goes by.
        affinity: the processors that it may use, by number; empty for all.
        processes: how many fresh processes sample each Case; 1 stands for the one that judged.
        memory_bytes: how much a worker may allocate; by default most of what is available.
        half_width: the relative half-width of a speed-up's interval that ends a process's samples.
    """

    tasks: tuple[tuple[Case, tuple[str, ...]], ...]
    budget_seconds: float
    timeout_seconds: float
    threads: int
    machine: str
    affinity: tuple[int, ...] = ()
    processes: int = 1
    memory_bytes: int | None = None
    half_width: float = HALF_WIDTH

    @property
    def cells(self) -> list[tuple[Case, str]]:
        """Every variant of every Case."""
        return [(case, variant) for case, variants in self.tasks for variant in variants]


class RunPlanFile(RootModel[RunPlan]):
    """A RunPlan as JSON."""


def start_run(folder: Path, plan: RunPlan) -> None:
    """Make the folder of a new run.

    Raises:
        UsageError: where it holds a run already, or cannot be made.
    """
    if (folder / PLAN).exists():
        raise UsageError(f"{folder} holds a run already; --resume {folder} goes on with it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / PLAN, RunPlanFile(plan).model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; expected a folder to write to") from error


def read_plan(folder: Path) -> RunPlan:
    """Return the RunPlan of a run's folder.

    Raises:
        UsageError: where there is none that can be read.
    """
    try:
        return RunPlanFile.model_validate_json((folder / PLAN).read_bytes()).root
    except OSError:
        raise UsageError(f"{folder} holds no run: there is no {PLAN}") from None
    except ValidationError:
        raise UsageError(f"{folder / PLAN} is damaged; start a new run") from None


def choose_tasks(
    preset: str | None,
    losses: tuple[str, ...],
    variants: tuple[str, ...],
    device: str,
    given: Mapping[str, Any],
    compiled: bool | None = None,
) -> tuple[tuple[Case, tuple[str, ...]], ...]:
    """Return the Cases to measure, each with its variants.

    Args:
        preset: whose grids; ``None`` for one default size.
        losses: names that narrow them; empty for all.
        variants: names that narrow them, the reference staying; empty for all of the device.
        device: ``cpu`` or ``cuda``.
        given: axes of the grids to put in place.
        compiled: whether ``+compile`` variants are measured; ``None`` where the preset says.

    Raises:
        UsageError: where a size cannot be.
    """
    tasks: dict[Case, tuple[str, ...]] = {}
    for grid in PRESETS[preset].grids if preset else (Sizes(),):
        kept = tuple(name for name in losses if not grid.losses or name in grid.losses)
        if losses and not kept:
            continue
        changes: dict[str, Any] = {**given, "losses": kept or grid.losses}
        if "dtype" in given:
            # A dtype that is asked for is meant itself, also where the grid has autocast to others.
            changes.setdefault("autocast", False)
        if compiled is not None:
            changes["compiled"] = compiled
        changed = replace(grid, **changes)
        for case in changed.cases(device):
            tasks.setdefault(case, choose_variants(case, variants, compiled=changed.compiled))
    return tuple(tasks.items())


def choose_variants(case: Case, variants: tuple[str, ...], *, compiled: bool) -> tuple[str, ...]:
    """Return the variants to measure in a Case, the reference first."""
    return tuple(
        implementation.variant
        for implementation in impls.implementations(case.loss)
        if implementation.variant in ("reference", *variants)
        or (
            not variants
            and case.device in implementation.devices
            and (compiled or not implementation.mode)
        )
    )


def check_variants(loss: str, variants: Iterable[str]) -> None:
    """Refuse the name of a variant that a Loss does not have.

    Raises:
        UsageError: where there is one; the message lists those there are.
    """
    known = [implementation.variant for implementation in impls.implementations(loss)]
    for name in variants:
        if name not in known:
            raise UsageError(f"{loss} has no variant {name!r}; it has: {', '.join(known)}")


def choose_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``, ``auto`` being the best there is.

    Raises:
        UsageError: where CUDA is asked for and is not there.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UsageError(
            f"no CUDA device: torch {torch.__version__} finds none here; --device cpu runs"
        )
    if device == "auto":
        return "cuda" if available else "cpu"
    return device
