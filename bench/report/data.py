"""Load the data of a report: the frame of its runs, and more from their records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench.bench.errors import UsageError
from lossbench.bench.frame import load
from lossbench.bench.frame.runs import find
from lossbench.bench.machine.environment import Environment
from lossbench.bench.measure.conformance import Conformance
from lossbench.bench.paths import RESULTS, RUNS, SHIPPED_RESULTS
from lossbench.bench.report.order import ordered
from lossbench.bench.run.records import RECORDS, each_record
from lossbench.bench.training_loop.matrix import TRAINING_FILE, TrainingMatrix, load_matrix

if TYPE_CHECKING:
    import pandas as pd


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
    """

    frame: "pd.DataFrame"
    conformance: dict[str, dict[tuple[str, str], tuple[Conformance, ...]]]
    environments: dict[str, list[Environment]]
    training: dict[str, TrainingMatrix]

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


def load_evidence(paths: Sequence[Path]) -> Evidence:
    """Return the data of runs.

    Args:
        paths: runs, folders of runs, or other files that ``lossbench.load`` reads.

    Raises:
        UsageError: if a path has no record, or a file that cannot be read.
    """
    frame = load(*paths)
    if frame.empty:
        raise UsageError(f"{', '.join(map(str, paths))}: expected records; there are none yet")
    frame = ordered(frame)
    label_of = frame.drop_duplicates(["run", "machine"]).set_index(["run", "machine"])["label"]
    conformance: dict[str, dict[tuple[str, str], tuple[Conformance, ...]]] = {}
    environments: dict[str, list[Environment]] = {}
    for run in dict.fromkeys(run for path in paths for run in find(path)):
        for part in each_record(run):
            label = label_of[str(run), part.environment.machine]
            seen = environments.setdefault(label, [])
            if part.environment not in seen:
                seen.append(part.environment)
            if part.conformance:
                inputs = conformance.setdefault(label, {})
                inputs[part.case.loss, part.variant] = part.conformance
    return Evidence(frame, conformance, environments, _training(paths))


def _training(paths: Sequence[Path]) -> dict[str, TrainingMatrix]:
    """Return the training matrices that stand in the runs' folders, or in those above them."""
    runs = (run for path in paths for run in find(path))
    folders = dict.fromkeys(folder for run in runs for folder in (run, run.parent))
    files = (folder / TRAINING_FILE for folder in folders)
    return {file.parent.name: load_matrix(file) for file in files if file.is_file()}
