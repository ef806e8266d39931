"""Run a plan: measure every variant of every Case, and record each at once."""

from collections.abc import Iterable
from pathlib import Path

from lossbench.bench.case.cases import Case
from lossbench.bench.machine.scratch import sweep_scratch_folders
from lossbench.bench.run.appending import record_file
from lossbench.bench.run.plan import RunPlan
from lossbench.bench.run.rank_session import RankSession
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import Record
from lossbench.bench.run.session import RunWatcher, Session
from lossbench.impls.registry import REFERENCE


def run(folder: Path, plan: RunPlan, watcher: RunWatcher) -> None:
    """Measure the variants of a RunPlan that its folder has no Record of.

    Raises:
        UsageError: if the record file cannot be read or written.
    """
    sweep_scratch_folders()
    with record_file(folder) as file:
        tasks = tasks_left(plan, read_records(folder))
        made = RankSession if plan.ranks > 1 else Session
        with made(plan, watcher) as session:
            for case, todo, baseline in tasks:
                for record in session.measure(case, todo, baseline=baseline):
                    file.append(record)
                    watcher.recorded(record)


def tasks_left(plan: RunPlan, records: Iterable[Record]) -> list[tuple[Case, list[str], bool]]:
    """Return each Case that lacks Records, its variants without one, and the reference's state.

    The last is whether the reference can be timed again, although it has a Record.
    """
    status = {record.cell: record.status for record in records}
    left = []
    for case, variants in plan.tasks:
        todo = [variant for variant in variants if (case, variant) not in status]
        if todo:
            left.append((case, todo, status.get((case, REFERENCE)) == "passed"))
    return left
