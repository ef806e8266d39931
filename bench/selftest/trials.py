"""Test the verdict: measure pairs with a known slowdown, each in fresh processes."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace

import torch
from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.limits import SELFTEST_SECONDS
from lossbench.bench.machine.worker import Worker
from lossbench.bench.selftest.planted import measure_pair
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.intervals import Interval
from lossbench.bench.timing.samples import FEWEST_PROCESSES, Timing, Verdict
from lossbench.bench.timing.sampling import Sampling

# Small and larger steps, limited by calls, by matrix products and by memory. Other tools' gates do
# not reset the state, so no loss here shrinks its state from call to call.
PAIR_SIZES = (
    ("softmax", 64, 128, 10),
    ("normface", 256, 128, 1000),
    ("sphereface", 64, 128, 10),
    ("arcface", 64, 128, 1000),
    ("softmax_center", 256, 128, 100),
    ("center_mse", 64, 128, 10),
    ("island", 64, 128, 100),
    ("triplet_batch_hard", 64, 128, 10),
    ("triplet_weighted", 256, 128, 10),
    ("contrastive", 64, 128, 10),
)
# Their processes are then replaced by others, with other memory layouts.
TRIALS_PER_PROCESS = 10


@dataclass(frozen=True, config=KEPT)
class PairTrial:
    """The verdict of the harness on one pair.

    Attributes:
        case: case of the timed step.
        effect: planted slowdown of the copy, as a share; 0 for two equal steps.
        loaded: whether another process kept a core busy during the trial.
        seed: seed of the order of sampling.
        verdict: verdict on the copy.
        speedup: speed-up of the copy, with its interval.
        rounds: number of sampled rounds.
        seconds: time of the trial, without the start of processes.
        elsewhere: number of processors that other processes kept busy, on average.
    """

    case: Case
    effect: float
    loaded: bool
    seed: int
    verdict: Verdict
    speedup: Interval | None
    rounds: int
    seconds: float
    elsewhere: float

    @property
    def factor(self) -> float:
        """The copy's time over the reference's."""
        return 1 / self.speedup.median if self.speedup else float("nan")


Measure = Callable[[Case, float, Sampling, int], tuple[Timing, float]]
"""A function of case, effect, sampling and seed; returns the copy's timing and its seconds."""


@plain_dataclass
class SamplingProcesses:
    """Measures pairs in several processes, since the memory layout biases all times of a process.

    As in a run, a process serves several Cases, since its start takes longer than a trial.

    Attributes:
        threads: number of threads of each process.
        processes: number of processes that sample, one after the other.
        combine: function that joins their timings into one.
    """

    threads: int
    processes: int = FEWEST_PROCESSES
    combine: Callable[[Iterable[Timing]], Timing] = Timing.joined
    _workers: list[Worker] = field(default_factory=list)
    _trials: int = 0

    def __call__(
        self, case: Case, effect: float, sampling: Sampling, seed: int
    ) -> tuple[Timing, float]:
        """Return the copy's timing, and the seconds it took once the processes had started."""
        if self._trials % TRIALS_PER_PROCESS == 0:
            self.close()
            self._workers += [started_worker(self.threads) for _ in range(self.processes)]
        self._trials += 1
        timings, start = [], time.perf_counter()
        for process, worker in enumerate(self._workers):
            chosen = replace(sampling, seed=seed * self.processes + process)
            timings.append(worker.ask(SELFTEST_SECONDS, measure_pair, case, effect, chosen))
        return self.combine(timings), time.perf_counter() - start

    def close(self) -> None:
        """End the processes."""
        while self._workers:
            self._workers.pop().close()


def started_worker(threads: int) -> Worker:
    """Return a worker that has started."""
    worker = Worker(threads)
    worker.ask(SELFTEST_SECONDS, torch.get_num_threads)
    return worker


@contextmanager
def fresh_worker(threads: int) -> Iterator[Worker]:
    """Start a worker for the duration of the block."""
    worker = started_worker(threads)
    try:
        yield worker
    finally:
        worker.close()


def cases(device: str) -> tuple[Case, ...]:
    """Return the Cases of the trials, which take turns."""
    return tuple(Case(*size, device=device) for size in PAIR_SIZES)


def hold_trial(
    case: Case, effect: float, sampling: Sampling, measure: Measure, *, loaded: bool
) -> PairTrial:
    """Run one trial, with the seed of the sampling."""
    timing, seconds = measure(case, effect, sampling, sampling.seed)
    return PairTrial(
        case=case,
        effect=effect,
        loaded=loaded,
        seed=sampling.seed,
        verdict=timing.verdict,
        speedup=timing.speedup,
        rounds=len(timing.seconds),
        seconds=round(seconds, 3),
        elsewhere=timing.elsewhere,
    )


@contextmanager
def burnt_core() -> Iterator[None]:
    """Keep one core busy with another process during the block."""
    process = multiprocessing.get_context("spawn").Process(
        target=_burn, args=(os.getpid(),), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _burn(parent: int) -> None:
    """Compute without purpose until the parent ends."""
    while os.getppid() == parent:
        sum(range(1_000_000))
