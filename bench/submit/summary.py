"""Say in a few lines what a bundle holds, and what a reader should know about it."""

from collections.abc import Iterator

from lossbench.bench.choose.sources import Host
from lossbench.bench.format import counted
from lossbench.bench.printable import printable
from lossbench.bench.submit.bundle import Bundle
from lossbench.bench.submit.manifest import environments_of


def bundle_lines(bundle: Bundle) -> Iterator[str]:
    """Yield what a bundle holds: who measured, how much, on which machines, at which commits."""
    records = bundle.records
    losses = len({record.case.loss for record in records})
    made = sorted({record.made[:10] for record in records})
    when = " to ".join(dict.fromkeys((made[0], made[-1]))) if made else "at no time"
    many = f"{counted(len(records), 'record')} of {counted(losses, 'loss', 'losses')}"
    yield f"{many}, by {bundle.by}, {when}"
    machines = {
        f"{record.environment.machine}: {Host.of(record.environment, record.case.device)}": None
        for record in records
    }
    yield from (printable(machine) for machine in machines)
    commits = {each.revision or "none known" for each in environments_of(records)}
    yield printable(f"commit {', '.join(sorted(commits))}")


def bundle_notes(bundle: Bundle) -> Iterator[str]:
    """Yield what is allowed, but makes the Records of a bundle count less on a board."""
    dirty = sum(record.environment.dirty for record in bundle.records)
    if dirty:
        yield f"{counted(dirty, 'record')} of uncommitted code, which nobody can check out"
    missing = set(bundle.plan.cells) - {record.cell for record in bundle.records}
    if missing:
        yield f"{counted(len(missing), 'planned cell')} without a record: the run was stopped"
    for environment in environments_of(bundle.records):
        yield from (printable(warning) for warning in environment.warnings)
