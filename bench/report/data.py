"""Load the data of a report: the frame of its runs, and more from their records."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbench.bench.choose.sources import Host
from lossbench.bench.collector import paused_collector
from lossbench.bench.errors import UsageError
from lossbench.bench.frame import runs, sources, tidy
from lossbench.bench.frame.runs import find, record_row
from lossbench.bench.machine.environment import Environment
from lossbench.bench.measure.conformance import Conformance
from lossbench.bench.paths import RESULTS, RUNS, SHIPPED_RESULTS
from lossbench.bench.report.answers import Setting, is_answering, settings_of
from lossbench.bench.report.order import ordered
from lossbench.bench.run.reading import each_record
from lossbench.bench.run.records import RECORDS, Record
from lossbench.bench.training_loop.matrix import TRAINING_FILE, TrainingMatrix, load_matrix

if TYPE_CHECKING:
    import pandas as pd

Inputs = tuple[Conformance, ...]


@dataclass(frozen=True)
class Evidence:
    """The data of a report.

    Attributes:
        frame: frame of ``lossbench.load``, with one row per variant and Case, in the order of the
            catalogue, and with five more columns: ``label``, the run's short name; ``precision``,
            the dtype, and whether it is autocast's; ``size``, the Case's sizes as text; ``name``,
            the variant with the sign of uncommitted changes; ``case``, a number for each Case of
            a run.
        conformance: results on degenerate inputs, by label, then by Loss and variant.
        environments: environments of the records, by label.
        training: training matrices found beside the runs, by the name of their folder.
        answering: records of all runs that answers can rest on.
        here: this machine, to put the answers from its records before others; ``None`` to put the
            newest first.
    """

    frame: "pd.DataFrame"
    conformance: dict[str, dict[tuple[str, str], Inputs]]
    environments: dict[str, list[Environment]]
    training: dict[str, TrainingMatrix]
    answering: list[Record]
    here: Host | None

    @cached_property
    def settings(self) -> list[Setting]:
        """The answers of ``choose`` from the records of all runs together."""
        return settings_of(self.answering, self.here)

    @property
    def labels(self) -> list[str]:
        """The short names of the runs, in order."""
        return list(self.frame["label"].unique())


def default_runs() -> list[Path]:
    """Return the latest run that was measured here; without one, the shipped runs.

    Raises:
        UsageError: if there is neither.
    """
    shipped = [run for run in find(SHIPPED_RESULTS) if RUNS not in run.parents]
    own = [run for folder in (RUNS, RESULTS) for run in find(folder) if run not in shipped]
    if not own and not shipped:
        raise UsageError(f"{RESULTS} has no run; measure one: lossbench run")
    return sorted(own, key=lambda run: (run / RECORDS).stat().st_mtime)[-1:] or shipped


def load_evidence(paths: Sequence[Path], here: Host | None = None) -> Evidence:
    """Return the data of runs.

    Args:
        paths: runs, folders of runs, or other files that ``lossbench.load`` reads.
        here: this machine, to put the answers from its records before others.

    Raises:
        UsageError: if a path has no record, or a file that cannot be read.
    """
    seen = _Seen()
    with paused_collector():
        for reader, path in sources(*paths):
            if reader is runs:
                for record in each_record(path):
                    seen.add(str(path), record)
            else:
                seen.rows += reader.rows(path)
        frame = tidy(seen.rows)
    if frame.empty:
        raise UsageError(f"{', '.join(map(str, paths))}: expected records; there are none yet")
    frame = ordered(frame)
    label_of = frame.drop_duplicates(["run", "machine"]).set_index(["run", "machine"])["label"]
    return Evidence(
        frame,
        {label_of[key]: inputs for key, inputs in seen.conformance.items()},
        {label_of[key]: environments for key, environments in seen.environments.items()},
        _training(paths),
        seen.answering,
        here,
    )


class _Seen:
    """What a report needs of the records of runs, collected while each is read once."""

    def __init__(self) -> None:
        self.rows = list[dict[str, Any]]()
        self.answering = list[Record]()
        self.conformance: dict[tuple[str, str], dict[tuple[str, str], Inputs]] = {}
        self.environments: dict[tuple[str, str], list[Environment]] = {}

    def add(self, run: str, record: Record) -> None:
        self.rows.append({"run": run, **record_row(record)})
        place = run, record.environment.machine
        known = self.environments.setdefault(place, [])
        if record.environment not in known:
            known.append(record.environment)
        if record.conformance:
            inputs = self.conformance.setdefault(place, {})
            inputs[record.case.loss, record.variant] = record.conformance
        if is_answering(record):
            self.answering.append(record)


def _training(paths: Sequence[Path]) -> dict[str, TrainingMatrix]:
    """Return the training matrices that stand in the runs' folders, or in those above them."""
    found = (run for path in paths for run in find(path))
    folders = dict.fromkeys(folder for run in found for folder in (run, run.parent))
    files = (folder / TRAINING_FILE for folder in folders)
    return {file.parent.name: load_matrix(file) for file in files if file.is_file()}
