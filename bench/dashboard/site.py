"""Publish asv's results, of all machines, as a site that needs no network."""

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
    """A published site, and what it shows.

    Attributes:
        folder: where it stands.
        machines: the machines' names, in order.
        benchmarks: how many benchmarks there are, each with its parameters.
        commits: how many commits with results it shows.
        left_out: the commits with results that are on none of the branches that asv shows.
        regressions: how many series the regressions page lists.
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
        config: asv's configuration; paths in it are relative to its folder.
        out: the site's folder, ``html_dir`` of the configuration by default. A site that stands
            there is replaced once the new one is whole.

    Raises:
        UsageError: there is no asv, configuration or result; the history is missing or cut short;
            ``out`` holds something else; asv failed; or what the pages load could not be fetched.
    """
    settings = _settings(config)
    root = config.resolve().parent
    _check_results(root / settings.results_dir)
    _check_history(root / settings.repo)
    folder = (out or root / settings.html_dir).resolve()
    _check_replaceable(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside it, so that the whole site is moved there at once.
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
    """Refuse a folder without the whole history: asv places results by it, or leaves them out."""
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
            f"the history of {repository} is cut short, and results are shown along it: "
            "expected a whole clone, as after `git fetch --unshallow`"
        )


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace what is not a dashboard: publishing starts with an empty folder."""
    if not folder.exists() or (folder / "asv.js").is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise UsageError(f"expected an empty folder or an earlier dashboard, found {folder}")


def _run_asv(settings: "Config", root: Path, scratch: Path) -> tuple[Path, tuple[str, ...]]:
    """Have asv publish a tidied copy of the results.

    Returns:
        The site's folder, and the commits that asv left out.
    """
    results, built, config = (scratch / name for name in ("results", "site", "asv.conf.json"))
    shutil.copytree(root / settings.results_dir, results)
    drop_unmeasured(results)
    changed = {"version": 1, "results_dir": str(results), "html_dir": str(built)}
    if (root / settings.repo).is_dir():
        changed["repo"] = str(root / settings.repo)
    config.write_text(json.dumps(vars(settings) | changed), encoding="utf-8")
    command = [sys.executable, "-m", "asv", "publish", "--no-pull", "--config", str(config)]
    # Kept back unless it is needed: interrupted, asv would end with a traceback.
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise UsageError(f"`asv publish` failed with exit code {done.returncode}, as said above")
    left_out = re.findall(r"Couldn't find (\w+) in branches", done.stdout)
    return built, tuple(sorted(set(left_out)))


def _described(folder: Path, results: Path, left_out: tuple[str, ...]) -> Site:
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    listed = json.loads((folder / "regressions.json").read_text(encoding="utf-8"))
    # A result's file is named by the first eight digits of its commit.
    commits = {file.name.split("-", 1)[0] for file in _result_files(results)}
    return Site(
        folder=folder,
        machines=tuple(path.name for path in _machine_folders(results)),
        benchmarks=len(index["benchmarks"]),
        commits=len(commits - set(left_out)),
        left_out=left_out,
        regressions=len(listed["regressions"]),
    )
