"""What a choice lacks, as the plan of a run that measures it."""

from collections.abc import Iterable

from lossbench.bench.case.cases import Case
from lossbench.bench.case.presets import PRESETS
from lossbench.bench.choose.sources import Host, alike, pools_of
from lossbench.bench.errors import UsageError
from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.run.plan import RunPlan, choose_device, choose_variants
from lossbench.bench.run.records import Record
from lossbench.impls.registry import REFERENCE


def plan_missing(
    case: Case, records: Iterable[Record], machine: str, here: Host, *, compiled: bool
) -> RunPlan | None:
    """Return what measures a Case as ``run --preset full`` does, ``None`` where nothing is missing.

    Args:
        case: what is asked.
        records: what there is.
        machine: whose are asked for; empty for those of a machine like this.
        here: this machine.
        compiled: whether to measure ``+compile`` variants too.

    Raises:
        UsageError: where this is not the machine, or has not the device.
    """
    pools = pools_of(records, case)
    mine = alike(pools, here)
    if machine in {pool.host.machine for pool in pools if pool not in mine}:
        raise UsageError(f"this is not the machine {machine!r}, so that --measure is of no use")
    named = [pool for pool in mine if machine in ("", pool.host.machine)]
    variants = _missing(case, named[0].records if named else (), compiled=compiled)
    if not variants:
        return None
    choose_device(case.device)
    return RunPlan(
        tasks=((case, variants),),
        budget_seconds=PRESETS["full"].budget_seconds,
        timeout_seconds=VARIANT_SECONDS,
        threads=default_threads(),
        machine=named[0].host.machine if named else machine,
        processes=PRESETS["full"].processes,
    )


def _missing(case: Case, records: Iterable[Record], *, compiled: bool) -> tuple[str, ...]:
    """Return the variants of which there is no record, with the reference for pairs."""
    seen = {record.variant for record in records if record.case == case}
    wanted = choose_variants(case, (), compiled=compiled)
    missing = [variant for variant in wanted if variant not in seen]
    return tuple(dict.fromkeys([REFERENCE, *missing])) if missing else ()
