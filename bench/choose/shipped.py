"""The shipped table of recommendations, ``impls/recommended.json``, written from records.

It holds what ``choose`` answers from: for every loss, device, dtype and machine the sizes and times
of each variant, and its fitted curve. ``build`` asks for variants by the same rules as ``choose``.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.models import VariantModel
from lossbench.bench.choose.sources import Host, Pool, pools_of
from lossbench.bench.compat.standing import right_where_it_runs
from lossbench.bench.compat.table import CompatColumn, known_table
from lossbench.bench.errors import UsageError
from lossbench.bench.run.order import place_of_case
from lossbench.bench.run.records import Record
from lossbench.impls.registry import REFERENCE
from lossbench.impls.torch_release import release_text

TABLE_SCHEMA = 2
DIGITS = 4


def table_text(records: Iterable[Record]) -> str:
    """Return the table as JSON, one line per variant, in an order that keeps diffs small.

    Raises:
        UsageError: if no record was timed beside its reference, or if one machine name has records
            of several processors.
    """
    used = [record for record in records if _plain(record)]
    losses = {loss.name: _sheets(used, loss.name) for loss in impls.losses()}
    if not any(losses.values()):
        raise UsageError("no record was timed beside its reference; measure with `run`")
    return _json(_machines(used), {name: found for name, found in losses.items() if found})


def _plain(record: Record) -> bool:
    """Return whether a Record has Gaussian data, no autocast, and one process."""
    case = record.case
    return case.data == "gaussian" and not case.autocast and case.seed == 0 and case.ranks == 1


def _sheets(records: Iterable[Record], loss: str) -> list[dict[str, Any]]:
    """Return the sheets of a Loss: one per device, dtype and host, the host with most sizes first.

    A host without times of the reference has none.
    """
    mine = [record for record in records if record.case.loss == loss]
    kinds: dict[tuple[str, str], Case] = {}
    for record in sorted(mine, key=lambda record: place_of_case(record.case)):
        kinds.setdefault((record.case.device, record.case.dtype), record.case)
    pools = [(case, pool) for case in kinds.values() for pool in pools_of(mine, case)]
    timed = [(case, pool) for case, pool in pools if REFERENCE in pool.models]
    order = list(kinds.values())
    timed.sort(key=lambda pair: (order.index(pair[0]), -len(pair[1].models[REFERENCE].records)))
    return [_sheet(case, pool) for case, pool in timed]


def _sheet(case: Case, pool: Pool) -> dict[str, Any]:
    known = {each.variant: each for each in impls.implementations(case.loss)}
    return {
        "machine": pool.machines[0],
        "measured": pool.made[:10],
        "device": case.device,
        "dtype": case.dtype,
        "torch": pool.host.torch,
        "variants": {
            name: _entry(pool.models[name])
            for name, each in known.items()
            if name in pool.models and not each.departs
        },
    }


def _entry(model: VariantModel) -> dict[str, Any]:
    loss = next(iter(model.records)).loss
    cases = sorted(model.records, key=lambda case: (case.batch, case.dim, case.classes))
    corrections = dict(zip(model.records, model.time.corrections, strict=True))
    return {
        "sizes": [[case.batch, case.dim, case.classes] for case in cases],
        "seconds": [_short(model.seconds[case]) for case in cases],
        "curve": [_short(coefficient) for coefficient in model.time.coefficients],
        "corrections": [_short(corrections[case]) for case in cases],
        "modelled": bool(model.errors),
        "proven": right_where_it_runs(_proofs(), loss, model.variant),
        "worse": list(model.graded.get("worse", ())),
    }


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _proofs() -> tuple[CompatColumn, ...]:
    """Return the columns that a named variant must be right in: those of the CPU."""
    return tuple(column for column in known_table().columns if column.device == "cpu")


def _machines(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """Return the environments of the records, by machine.

    Raises:
        UsageError: if one name stands for several processors.
    """
    machines: dict[str, list[Record]] = {}
    for record in records:
        machines.setdefault(record.environment.machine, []).append(record)
    return {name: _machine(name, found) for name, found in sorted(machines.items())}


def _machine(name: str, records: list[Record]) -> dict[str, Any]:
    hosts = {Host.of(record.environment, record.case.device) for record in records}
    processors = sorted({host.processor for host in hosts})
    if len({record.environment.cpu for record in records}) > 1:
        raise UsageError(f"the machine {name!r} has records of several processors: {processors}")
    made = sorted(record.made for record in records)
    return {
        "processors": processors,
        "cores": sorted({host.cores for host in hosts}),
        "threads": sorted({host.threads for host in hosts}),
        "torch": sorted({host.torch for host in hosts}),
        "commits": sorted({record.environment.revision for record in records}),
        "first": made[0],
        "last": made[-1],
    }


def _json(machines: Mapping[str, Any], losses: Mapping[str, list[dict[str, Any]]]) -> str:
    """Return JSON with one line per machine and per variant."""
    releases = [release_text(release) for release in sorted({c.release for c in _proofs()})]
    hosts = [f'  "{name}": {json.dumps(machines[name])}' for name in machines]
    blocks = [
        f'  "{name}": [\n' + ",\n".join(map(_sheet_text, losses[name])) + "\n  ]"
        for name in sorted(losses)
    ]
    return (
        f'{{\n "schema": {TABLE_SCHEMA},\n "proven_on": {json.dumps(releases)},\n'
        ' "machines": {\n' + ",\n".join(hosts) + "\n },\n"
        ' "losses": {\n' + ",\n".join(blocks) + "\n }\n}\n"
    )


def _sheet_text(sheet: Mapping[str, Any]) -> str:
    head = json.dumps({name: value for name, value in sheet.items() if name != "variants"})
    entries = [f'     "{name}": {json.dumps(entry)}' for name, entry in sheet["variants"].items()]
    return f'   {head[:-1]}, "variants": {{\n' + ",\n".join(entries) + "\n   }}"
