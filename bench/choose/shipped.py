"""The shipped table of recommendations, ``impls/recommended.json``, written from records.

The table has a line per measured size: the variants that are faster than the reference, the fastest
first, then the reference itself. It names only variants that every user of torch can use: none that
is third-party, compiled, has sparse gradients, is worse than the reference on degenerate inputs, or
is not right on every release of torch in the table of ``compat`` that supports it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.sources import Host, preferred_of_cells
from lossbench.bench.compat.standing import right_where_it_runs
from lossbench.bench.compat.table import CompatColumn, known_table
from lossbench.bench.errors import UsageError
from lossbench.bench.run.order import place_of_case
from lossbench.bench.run.records import Record
from lossbench.impls.registry import REFERENCE
from lossbench.impls.torch_release import release_text

TABLE_SCHEMA = 1


def table_text(records: Iterable[Record]) -> str:
    """Return the table as JSON, one line per size, in an order that keeps diffs small.

    Raises:
        UsageError: if no record was timed beside its reference, or if one machine name has records
            of several processors.
    """
    used = list(_preferred(record for record in records if _plain(record)))
    lines = {
        loss.name: [
            _line(case, list(group))
            for (case, _), group in groupby(
                (record for record in used if record.case.loss == loss.name),
                key=lambda record: (record.case, record.environment.machine),
            )
        ]
        for loss in impls.losses()
    }
    losses = {name: [line for line in found if line] for name, found in lines.items()}
    if not any(losses.values()):
        raise UsageError("no record was timed beside its reference; measure with `run`")
    return _json(_machines(used), {name: found for name, found in losses.items() if found})


def _plain(record: Record) -> bool:
    """Return whether a Record has times, Gaussian data and no autocast."""
    case = record.case
    return bool(record.step) and case.data == "gaussian" and not case.autocast and case.seed == 0


def _preferred(records: Iterable[Record]) -> Iterator[Record]:
    """Yield the Record that counts of every cell and machine, by Case, machine and variant."""
    machines: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.made):
        machines.setdefault(_machine_of(record), []).append(record)
    chosen = (each for found in machines.values() for each in preferred_of_cells(found))
    yield from sorted(chosen, key=_place)


def _place(record: Record) -> tuple[Any, ...]:
    return place_of_case(record.case), record.environment.machine, record.variant


def _line(case: Case, records: list[Record]) -> dict[str, Any] | None:
    """Return the line of one size on one machine, or ``None`` without the reference."""
    if all(record.variant != REFERENCE for record in records):
        return None
    faster = {
        record.variant: record.step.speedup.median
        for record in records
        if _for_everyone(record)
        and record.step
        and record.step.speedup
        and record.step.verdict == "faster"
    }
    order = sorted(faster, key=lambda variant: -faster[variant])
    return {
        "machine": records[0].environment.machine,
        "measured": max(record.made for record in records)[:10],
        "device": case.device,
        "dtype": case.dtype,
        "batch": case.batch,
        "dim": case.dim,
        "classes": case.classes,
        "variants": [*order, REFERENCE],
        "speedups": [*(float(f"{faster[variant]:.2g}") for variant in order), 1.0],
    }


def _for_everyone(record: Record) -> bool:
    known = {each.variant: each for each in impls.implementations(record.case.loss)}
    found = known.get(record.variant)
    if found is None or record.variant == REFERENCE:
        return False
    special = bool(found.requires or found.compiled or found.departs or found.sparse)
    worse = any(part.grade == "worse" for part in record.conformance)
    return (
        not special and not worse and right_where_it_runs(_proofs(), found.loss.name, found.variant)
    )


def _proofs() -> tuple[CompatColumn, ...]:
    """Return the columns that a named variant must be right in: those of the CPU."""
    return tuple(column for column in known_table().columns if column.device == "cpu")


def _machines(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """Return the environments of the records, by machine.

    Raises:
        UsageError: if one name stands for several processors.
    """
    machines: dict[str, dict[str, Any]] = {}
    for name, group in groupby(sorted(records, key=_machine_of), key=_machine_of):
        together = list(group)
        hosts = {Host.of(record.environment, record.case.device) for record in together}
        processors = sorted({host.processor for host in hosts})
        if len({record.environment.cpu for record in together}) > 1:
            raise UsageError(
                f"the machine {name!r} has records of several processors: {processors}"
            )
        made = sorted(record.made for record in together)
        machines[name] = {
            "processors": processors,
            "cores": sorted({host.cores for host in hosts}),
            "threads": sorted({host.threads for host in hosts}),
            "torch": sorted({host.torch for host in hosts}),
            "commits": sorted({record.environment.revision for record in together}),
            "first": made[0],
            "last": made[-1],
        }
    return machines


def _machine_of(record: Record) -> str:
    return record.environment.machine


def _json(machines: Mapping[str, Any], losses: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return JSON with the proven releases of torch, one line per machine and one per size."""
    blocks = [
        f'  "{name}": [\n' + ",\n".join(f"   {json.dumps(line)}" for line in losses[name]) + "\n  ]"
        for name in sorted(losses)
    ]
    hosts = [f'  "{name}": {json.dumps(machines[name])}' for name in sorted(machines)]
    releases = [release_text(release) for release in sorted({c.release for c in _proofs()})]
    return (
        f'{{\n "schema": {TABLE_SCHEMA},\n "proven_on": {json.dumps(releases)},\n "machines": {{\n'
        + ",\n".join(hosts)
        + "\n },\n"
        ' "losses": {\n' + ",\n".join(blocks) + "\n }\n}\n"
    )
