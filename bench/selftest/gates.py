"""Give the same pairs to the regression checks ("gates") of asv and of pytest-benchmark."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.limits import SELFTEST_SECONDS
from lossbench.bench.paths import import_path
from lossbench.bench.selftest.planted import COPY, planted_pair
from lossbench.bench.selftest.trials import fresh_worker
from lossbench.impls.registry import REFERENCE

# In per cent: the usual threshold, which equals the planted effect, and half of it.
THRESHOLDS = (10, 5)
# asv's default number of processes that time a benchmark.
ASV_ROUNDS = 2
MODULE = """
from lossbench.bench.case.cases import Case
from lossbench.bench.selftest.gates import step_to_gate

def test_step(benchmark):
    benchmark(step_to_gate({case!r}, {effect!r}, {name!r}, {threads}))
"""
REGRESSED = "Performance has regressed"


@dataclass(frozen=True)
class Alarm:
    """The answer of a gate about a pair.

    Attributes:
        gate: name of the tool, and its threshold.
        case: case of the timed step.
        effect: planted slowdown of the candidate, as a share; 0 for the reference itself.
        raised: whether the gate called the candidate slower.
        factor: the candidate's time over the base's, as measured by the tool.
        seconds: time to measure both, with the starts of the processes.
    """

    gate: str
    case: Case
    effect: float
    raised: bool
    factor: float
    seconds: float


def step_to_gate(case: Case, effect: float, name: str, threads: int) -> Callable[[], object]:
    """Set the threads of this process, and return one step of a planted pair."""
    torch.set_num_threads(threads)
    return planted_pair(case, effect)[name].call


def hold_gates(case: Case, effect: float, threads: int) -> Iterator[Alarm]:
    """Yield the answers of each gate about the reference, timed again, and about a slower copy.

    Both candidates are compared with one timing of the base. Each runs in processes of its own, as
    two commits would.
    """
    for gate, hold in {"pytest_benchmark": _hold_pytest_benchmark, "asv": _hold_asv}.items():
        if importlib.util.find_spec(gate) is not None:
            yield from hold(case, effect, threads)


def _hold_pytest_benchmark(case: Case, effect: float, threads: int) -> Iterator[Alarm]:
    with tempfile.TemporaryDirectory(prefix="lossbench-") as folder:
        session = _Sessions(Path(folder), case, effect, threads)
        base, _, base_seconds = session.run(REFERENCE, "--benchmark-save=base")
        widest, *others = THRESHOLDS
        gate = ("--benchmark-compare=0001", f"--benchmark-compare-fail=median:{widest}%")
        for name, planted in ((REFERENCE, 0.0), (COPY, effect)):
            stats, regressed, seconds = session.run(name, *gate)
            raised = {widest: regressed, **{t: _regressed(stats, base, t) for t in others}}
            factor = stats["median"] / base["median"]
            for threshold, alarm in raised.items():
                tool = f"pytest-benchmark median:{threshold}%"
                yield Alarm(tool, case, planted, alarm, factor, base_seconds + seconds)


def _regressed(stats: dict[str, Any], base: dict[str, Any], threshold: int) -> bool:
    """Return whether pytest-benchmark's own check fails, at a threshold in per cent."""
    utils: Any = importlib.import_module("pytest_benchmark.utils")
    return utils.parse_compare_fail(f"median:{threshold}%").fails(stats, base) is not None


class _Sessions:
    """Sessions of pytest in a folder of their own; each times one step in one process."""

    def __init__(self, folder: Path, case: Case, effect: float, threads: int) -> None:
        self._folder = folder
        self._asked = {"case": case, "effect": effect, "threads": threads}
        (folder / "pytest.ini").write_text("[pytest]\n")

    def run(self, name: str, *options: str) -> tuple[dict[str, Any], bool, float]:
        """Return the statistics of a step, whether the check failed, and the seconds it took."""
        (self._folder / "test_gated.py").write_text(MODULE.format(name=name, **self._asked))
        start = time.perf_counter()
        command = [sys.executable, "-m", "pytest", "-q", "--benchmark-json=seen.json", *options]
        environment = {**os.environ, "PYTHONPATH": import_path(), "PYTEST_ADDOPTS": ""}
        done = subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, check=False
        )
        regressed = done.returncode != 0 and REGRESSED in done.stdout + done.stderr
        if done.returncode and not regressed:
            raise UsageError(f"pytest-benchmark failed: {(done.stdout + done.stderr)[-300:]}")
        seen = json.loads((self._folder / "seen.json").read_text())
        return seen["benchmarks"][0]["stats"], regressed, time.perf_counter() - start


def _hold_asv(case: Case, effect: float, threads: int) -> Iterator[Alarm]:
    from asv_runner.statistics import compute_stats

    base, base_seconds = _asv_samples(case, effect, REFERENCE, threads)
    before = compute_stats(base, 1)
    for name, planted in ((REFERENCE, 0.0), (COPY, effect)):
        samples, seconds = _asv_samples(case, effect, name, threads)
        after = compute_stats(samples, 1)
        for threshold in THRESHOLDS:
            raised = asv_worsened(before, after, 1 + threshold / 100)
            tool = f"asv continuous -f {1 + threshold / 100:g}"
            yield Alarm(tool, case, planted, raised, after[0] / before[0], base_seconds + seconds)


def asv_worsened(before: tuple[float, Any], after: tuple[float, Any], factor: float) -> bool:
    """Return whether ``asv continuous`` would call a result worse.

    The decision is in a function that is not public. Without samples it checks whether the 99%
    intervals overlap. By default asv does not store samples, so it gets none here.
    """
    from asv.commands.compare import _is_result_better

    (base, base_stats), (seconds, stats) = before, after
    return bool(_is_result_better(base, seconds, (base_stats, None), (stats, None), factor))


def _asv_samples(case: Case, effect: float, name: str, threads: int) -> tuple[list[float], float]:
    """Return the samples that asv takes by default, and the seconds that this took."""
    start, samples = time.perf_counter(), list[float]()
    for _ in range(ASV_ROUNDS):
        with fresh_worker(threads) as worker:
            samples += worker.ask(SELFTEST_SECONDS, sample_as_asv, case, effect, name, threads)
    return samples, time.perf_counter() - start


def sample_as_asv(case: Case, effect: float, name: str, threads: int) -> list[float]:
    """Return the samples of one process of asv, in seconds per call."""
    from asv_runner.benchmarks.time import TimeBenchmark

    benchmark = TimeBenchmark("step", step_to_gate(case, effect, name, threads), [])
    samples: list[float] = benchmark.run()["samples"]
    return samples
