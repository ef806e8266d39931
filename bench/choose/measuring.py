"""Measuring what a choice lacks, as a run of its own, so that its records stay."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from bench.cases import PRESETS, Case
from bench.measure import REFERENCE
from bench.plan import Plan, choose_device, choose_variants, start_run
from bench.records import Record
from bench.run import Watcher, run

TIMEOUT_SECONDS = 300
Watching = Callable[[Plan, Path], AbstractContextManager[Watcher]]


def missing_variants(case: Case, records: Iterable[Record], *, compiled: bool) -> tuple[str, ...]:
    """Return the variants of a Case of which there is no record, with the reference for pairs."""
    seen = {record.variant for record in records if record.case == case}
    wanted = choose_variants(case, (), compiled=compiled)
    missing = [variant for variant in wanted if variant not in seen]
    return tuple(dict.fromkeys([REFERENCE, *missing])) if missing else ()


def measure_missing(
    case: Case, variants: tuple[str, ...], folder: Path, machine: str, watching: Watching
) -> None:
    """Measure variants of a Case as ``run --preset full`` does, and keep the records.

    Args:
        case: what is asked.
        variants: which.
        folder: of the run.
        machine: the name that this machine goes by; empty for its host name.
        watching: shows how it goes on.

    Raises:
        UsageError: where the device is not here, or the folder cannot be written.
    """
    choose_device(case.device)
    plan = Plan(
        tasks=((case, variants),),
        budget_seconds=PRESETS["full"].budget_seconds,
        timeout_seconds=TIMEOUT_SECONDS,
        threads=torch.get_num_threads(),
        machine=machine,
        processes=PRESETS["full"].processes,
    )
    start_run(folder, plan)
    with watching(plan, folder) as watcher:
        run(folder, plan, watcher)
