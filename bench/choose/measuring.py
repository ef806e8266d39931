"""Plan a run that measures what a choice needs and the records lack."""

from collections.abc import Iterable
from pathlib import Path

from lossbench.bench.case.cases import Case
from lossbench.bench.case.presets import PRESETS
from lossbench.bench.choose.sources import Host, pools_of
from lossbench.bench.errors import UsageError
from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.paths import RUNS
from lossbench.bench.run.plan import PLAN, RunPlan, choose_device, choose_variants
from lossbench.bench.run.records import Record
from lossbench.impls.compiled import is_compiled
from lossbench.impls.registry import REFERENCE

BUDGET = PRESETS["full"].budget_seconds
# What a variant takes beside its sampling, as seen in this project's runs: its agreement, memory
# and degenerate inputs, or its compilations in fresh processes; and the start of each process.
CHECK_SECONDS, COMPILE_SECONDS, START_SECONDS = 2.0, 60.0, 6.0


def plan_missing(
    case: Case,
    records: Iterable[Record],
    machine: str,
    here: Host,
    *,
    compiled: bool,
    budget_seconds: float = BUDGET,
) -> RunPlan | None:
    """Return the plan that measures a Case as ``run --preset full`` does; ``None`` if none lacks.

    Args:
        case: case to measure.
        records: records that exist.
        machine: name of the machine that must be measured; empty for this one.
        here: this machine.
        compiled: whether to measure ``+compile`` variants too.
        budget_seconds: time to sample one phase, over all processes.

    Raises:
        UsageError: if this machine is another one, or lacks the device.
    """
    choose_device(case.device)
    pools = pools_of(records, case)
    mine = [pool for pool in pools if pool.host == here]
    others = {name for pool in pools if not pool.host.is_like(here) for name in pool.machines}
    if machine in others:
        raise UsageError(f"--measure measures on this machine, which is not {machine!r}")
    variants = _missing(case, mine[0].records if mine else (), compiled=compiled)
    if not variants:
        return None
    return RunPlan(
        tasks=((case, variants),),
        budget_seconds=budget_seconds,
        timeout_seconds=VARIANT_SECONDS,
        threads=default_threads(),
        machine=machine or (mine[0].machines[0] if mine else ""),
        processes=PRESETS["full"].processes,
    )


def expected_seconds(plan: RunPlan) -> float:
    """Return about how long a plan takes."""
    compiled = sum(is_compiled(variant) for _, variant in plan.cells)
    checks = len(plan.cells) * CHECK_SECONDS + compiled * COMPILE_SECONDS
    phases = len(plan.tasks) * 2
    return phases * plan.budget_seconds + checks + (1 + plan.processes) * START_SECONDS


def folder_beside(runs: Iterable[Path]) -> Path:
    """Return the folder for new runs, in which the next choice from the same folders finds them.

    Args:
        runs: folders that the records are read from; empty for the default ones.
    """
    for folder in runs:
        return folder.parent if (folder / PLAN).exists() else folder
    return RUNS


def _missing(case: Case, records: Iterable[Record], *, compiled: bool) -> tuple[str, ...]:
    """Return the variants without a record, and the reference, to be timed in the same rounds."""
    seen = {record.variant for record in records if record.case == case}
    wanted = choose_variants(case, (), compiled=compiled)
    missing = [variant for variant in wanted if variant not in seen]
    return tuple(dict.fromkeys([REFERENCE, *missing])) if missing else ()
