"""Make a scratch repository with asv results of two machines, and one regression in them."""

import itertools
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from asv.machine import Machine
from asv.results import Results
from asv.runner import BenchmarkResult
from asv.util import write_json

COMMITS = 16
CHANGED = 10
SLOWDOWN = 1.3
MACHINES = ("laptop", "workstation")
AXES = {
    "variant": ("'fused'", "'vectorized'", "'never-measured'"),
    "batch": ("64", "256"),
    "device": ("'cpu'", "'cuda'"),
}
SLOWED = ("workstation", "arcface.track_step_ratio", ("'fused'", "256", "'cpu'"))
UNITS = {
    "arcface.track_step_ratio": "ratio",
    "arcface.track_step_peak_bytes": "bytes",
    "island.track_step_ratio": "ratio",
    "island.track_compile_seconds": "seconds",
}
UNMEASURED = "island.track_compile_seconds"


@dataclass(frozen=True)
class History:
    """The folder of the results, and the regression that is planted in them."""

    config: Path
    commits: tuple[str, ...]

    @property
    def culprit(self) -> str:
        return self.commits[CHANGED]


def plant(folder: Path) -> History:
    """Make a folder with commits, results of both machines at each, and asv's configuration."""
    commits = _commits(folder)
    settings = {"version": 1, "project": "scratch", "repo": ".", "branches": ["main"]}
    settings |= {"results_dir": "results/asv", "html_dir": "build/site"}
    (folder / "asv.conf.json").write_text(json.dumps(settings))
    results = folder / "results" / "asv"
    write_json(str(results / "benchmarks.json"), {n: _benchmark(n) for n in UNITS}, 2)
    for machine in MACHINES:
        about = _machine(machine)
        about.save(str(results))
        generator = np.random.default_rng(MACHINES.index(machine))
        for index, commit in enumerate(commits):
            _save(results, about, index, commit, generator)
    return History(folder / "asv.conf.json", commits)


def _commits(folder: Path) -> tuple[str, ...]:
    # The user's own configuration may sign commits or run hooks, so it is switched off.
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "tests", f"GIT_{role}_EMAIL": "tests@localhost"}

    def git(*arguments: str, date: str = "") -> str:
        dates = {f"GIT_{role}_DATE": date for role in ("AUTHOR", "COMMITTER") if date}
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment | dates,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    for index in range(COMMITS):
        date = f"2026-01-{index + 1:02}T12:00:00+00:00"
        git("commit", "-q", "--allow-empty", "-m", f"commit {index}", date=date)
    return tuple(reversed(git("rev-list", "HEAD").split()))


def _benchmark(name: str) -> dict[str, object]:
    return {
        "name": name,
        "type": "track",
        "unit": UNITS[name],
        "version": "1",
        "code": f"def {name.split('.')[1]}(variant, batch, device): ...",
        "params": [list(values) for values in AXES.values()],
        "param_names": list(AXES),
    }


def _machine(name: str) -> Machine:
    machine = Machine()
    machine.__dict__.update(
        machine=name, os="Linux", arch="x86_64", cpu=f"the {name}'s", num_cpu="2", ram="8000000"
    )
    return machine


def _save(
    results: Path, machine: Machine, index: int, commit: str, generator: np.random.Generator
) -> None:
    """Write the results of a commit as ``asv run`` does, with asv's own statistics."""
    parameters = {**machine.__dict__, "python": "3.11"}
    date = 1_767_268_800_000 + index * 86_400_000
    found = Results(parameters, {}, commit, date, "3.11", "virtualenv-py3.11", {})
    for name in UNITS:
        cells = itertools.product(*AXES.values())
        measured = [_measured(machine.machine, name, cell, index, generator) for cell in cells]
        values, samples = map(list, zip(*measured, strict=True))
        numbers = [1 if sample else None for sample in samples]
        found.add_result(_benchmark(name), BenchmarkResult(values, samples, numbers, 0, "", None))
    found.save(str(results))


def _measured(
    machine: str, name: str, cell: tuple[str, ...], index: int, generator: np.random.Generator
) -> tuple[float, list[float] | None]:
    """Return the value that asv stores for a cell, and its samples if there are any."""
    lacking = cell[2] == "'cuda'" and machine == "laptop"
    if lacking or cell[0] == "'never-measured'" or name == UNMEASURED:
        return float("nan"), None  # asv stores NaN for a skipped cell
    level = 1.0 + len(cell[0]) * 0.05 + int(cell[1]) / 1000
    if (machine, name, cell) == SLOWED and index >= CHANGED:
        level *= SLOWDOWN
    if UNITS[name] == "bytes":
        return round(level * 1e6), None
    drift = generator.normal(1, 0.003)
    samples = list(level * drift * generator.normal(1, 0.002, 20))
    return float(np.median(samples)), samples
