"""Publish asv's results of all machines as a site that needs no network."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench.bench.dashboard.tidying import drop_empty_rows, drop_unmeasured, name_machines
from lossbench.bench.dashboard.vendor import vendor
from lossbench.bench.errors import UsageError, writing

if TYPE_CHECKING:
    from asv.config import Config


@dataclass(frozen=True)
class Site:
    """A published site, and a summary of its content.

    Attributes:
        folder: folder of the site.
        machines: names of the machines, in order.
        benchmarks: number of benchmarks; one benchmark covers all of its parameters.
        commits: number of commits with results that the site shows.
        left_out: commits with results that are on none of the branches that asv shows.
        regressions: number of series on the regressions page.
    """

    folder: Path
    machines: tuple[str, ...]
    benchmarks: int
    commits: int
    left_out: tuple[str, ...]
    regressions: int


def publish(config: Path, out: Path | None = None) -> Site:
    """Build the site.

    Args:
        config: path of asv's configuration; paths in it are relative to its folder.
        out: folder of the site, by default ``html_dir`` of the configuration. An older site there
            is replaced when the new one is complete.

    Raises:
        UsageError: if asv, its configuration or its results are missing; if there is no git
            history or only a shallow clone; if ``out`` holds something else; if asv fails; or if
            the pages' JavaScript cannot be fetched.
    """
    settings = _settings(config)
    root = config.resolve().parent
    _check_results(root / settings.results_dir)
    _check_history(root / settings.repo)
    folder = (out or root / settings.html_dir).resolve()
    _check_replaceable(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A folder on the same disk can be moved in one step, so the scratch folder is next to it.
        scratch = tempfile.TemporaryDirectory(dir=folder.parent, prefix=".dashboard-")
    with scratch as name:
        built, left_out = _run_asv(settings, root, Path(name))
        drop_empty_rows(built)
        name_machines(built)
        vendor(built)
        if folder.exists():
            shutil.rmtree(folder)
        built.rename(folder)
    return _described(folder, root / settings.results_dir, left_out)


def _settings(config: Path) -> "Config":
    try:
        from asv.config import Config
        from asv.util import UserError
    except ModuleNotFoundError:
        raise UsageError("the dashboard needs asv, not installed here: pip install asv") from None
    try:
        return Config.load(str(config))
    except (UserError, ValueError) as error:
        raise UsageError(f"{config}: no asv configuration: {error}") from None


def _machine_folders(results: Path) -> list[Path]:
    return sorted(path.parent for path in results.glob("*/machine.json"))


def _result_files(results: Path) -> list[Path]:
    return [
        file
        for folder in _machine_folders(results)
        for file in folder.glob("*.json")
        if file.name != "machine.json"
    ]


def _check_results(results: Path) -> None:
    if not (results / "benchmarks.json").is_file() or not _result_files(results):
        raise UsageError(
            f"expected results of `asv run` in {results}, found none: `nox -s asv` makes some"
        )


def _check_history(repository: Path) -> None:
    """Refuse a folder without the whole history: asv leaves out results of commits it lacks."""
    if not repository.is_dir():
        return
    answer = subprocess.run(
        ["git", "rev-parse", "--is-shallow-repository"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise UsageError(
            f"{repository} is not in a git repository, and results are shown along its history: "
            "expected a clone"
        )
    if answer.stdout.strip() == "true":
        raise UsageError(
            f"{repository} is a shallow clone, and asv shows only results of commits that it has: "
            "expected a full clone, as after `git fetch --unshallow`"
        )


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that holds something other than a dashboard."""
    if not folder.exists() or (folder / "asv.js").is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise UsageError(f"expected an empty folder or an earlier dashboard, found {folder}")


def _run_asv(settings: "Config", root: Path, scratch: Path) -> tuple[Path, tuple[str, ...]]:
    """Publish a tidied copy of the results with asv.

    Returns:
        The folder of the site, and the commits that asv left out.
    """
    results, built, config = (scratch / name for name in ("results", "site", "asv.conf.json"))
    shutil.copytree(root / settings.results_dir, results)
    drop_unmeasured(results)
    changed = {"version": 1, "results_dir": str(results), "html_dir": str(built)}
    if (root / settings.repo).is_dir():
        changed["repo"] = str(root / settings.repo)
    config.write_text(json.dumps(vars(settings) | changed), encoding="utf-8")
    command = [sys.executable, "-m", "asv", "publish", "--no-pull", "--config", str(config)]
    # asv prints a traceback when it is interrupted, so its output is shown only if it fails.
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise UsageError(f"`asv publish` failed with exit code {done.returncode}, see above")
    left_out = re.findall(r"Couldn't find (\w+) in branches", done.stdout)
    return built, tuple(sorted(set(left_out)))


def _described(folder: Path, results: Path, left_out: tuple[str, ...]) -> Site:
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    listed = json.loads((folder / "regressions.json").read_text(encoding="utf-8"))
    # The name of a result file begins with the first eight digits of its commit.
    commits = {file.name.split("-", 1)[0] for file in _result_files(results)}
    return Site(
        folder=folder,
        machines=tuple(path.name for path in _machine_folders(results)),
        benchmarks=len(index["benchmarks"]),
        commits=len(commits - set(left_out)),
        left_out=left_out,
        regressions=len(listed["regressions"]),
    )
