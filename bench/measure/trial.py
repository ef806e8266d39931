"""Time modules, and check during the timing and after it that the timed calls do their work."""

import random
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from torch import nn

from lossbench import impls
from lossbench.bench.case.calls import Calls, prepare_calls
from lossbench.bench.case.feed import Content, Feed
from lossbench.bench.case.workload import Workload
from lossbench.bench.machine.guards import StateChanged, generators_untouched
from lossbench.bench.measure.answers import Answers
from lossbench.bench.measure.witness import Kept, Witness
from lossbench.bench.timing.clock import Timed, call_late, clock
from lossbench.bench.timing.lingering import Lingering
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling, interleave
from lossbench.impls.registry import REFERENCE

PHASES = ("forward", "step")
# The checks of calls during the sampling, and those after it, take about this share of the budget.
CHECKED_SHARE = 0.15
# Few calls are checked where one takes long, and enough where calls are short.
FEWEST_CALLS, MOST_CALLS, LEAST_SECONDS = 2, 16, 0.05


class WrongWhenTimed(StateChanged):
    """A module gave wrong results when it was timed; the message says which, in one line."""


@dataclass(frozen=True)
class Sampled:
    """The times of several modules, by phase and name.

    Attributes:
        timings: timing of each module, by phase, ``forward`` and ``step``, and by name.
        refusals: reasons to refuse modules for what they did when timed, by name.
    """

    timings: Mapping[str, Mapping[str, Timing]]
    refusals: Mapping[str, str]


@dataclass
class Trial:
    """The timing of several modules on one feed.

    Attributes:
        feed: feed of inputs and states.
        calls: calls of each module, by name.
        witnesses: witness of each module, by the same names.
        baseline: name of the module that the others are compared with.
        lingering: watcher of the threads that work after a call.
    """

    feed: Feed
    calls: Mapping[str, Calls]
    witnesses: Mapping[str, Witness]
    baseline: str
    lingering: Lingering
    _random: random.Random = field(default_factory=lambda: random.Random(secrets.randbits(64)))
    _due: float = 0.0
    _pending: tuple[Witness, Kept] | None = None

    def sample(self, phase: str, sampling: Sampling) -> dict[str, Timing]:
        """Return the interleaved times of one phase, and check calls during and after it."""
        timed = {name: self._timed(name, phase) for name in self.calls}
        device = self.feed.workload.case.device
        self._wait_for_next(CHECKED_SHARE * sampling.budget_seconds / MOST_CALLS)
        found = interleave(timed, self.baseline, sampling, device, self._check)
        self._check_after(phase, max(LEAST_SECONDS, CHECKED_SHARE * sampling.budget_seconds))
        return found

    def refusals(self) -> dict[str, str]:
        """Return the reasons to refuse modules, by name."""
        usual = self.witnesses[self.baseline].aliased if self.baseline in self.witnesses else set()
        reasons = {name: witness.reason(usual) for name, witness in self.witnesses.items()}
        return {name: f"when timed: {reason}" for name, reason in reasons.items() if reason}

    def _timed(self, name: str, phase: str) -> Timed:
        calls, witness = self.calls[name], self.witnesses[name]

        def keep(result: object) -> None:
            if self._pending is None and time.perf_counter() >= self._due:
                kept = witness.keep(result)
                self._pending = (witness, kept) if kept else None

        return Timed(getattr(calls, phase), calls.prepare, keep)

    def _check(self) -> None:
        """Check the call that was kept in the last round, if there is one."""
        if self._pending is None:
            return
        start = time.perf_counter()
        witness, kept = self._pending
        witness.check(kept)
        self._pending = None
        self._wait_for_next(time.perf_counter() - start)

    def _wait_for_next(self, check_seconds: float) -> None:
        """Choose the time of the next check, on average as rare as the checks are to be."""
        rate = CHECKED_SHARE / max(check_seconds, 1e-4)
        self._due = time.perf_counter() + self._random.expovariate(rate)

    def _check_after(self, phase: str, budget_seconds: float) -> None:
        """Check further calls of every module, timed as all others, on the same new data."""
        until = time.perf_counter() + budget_seconds
        for count in range(MOST_CALLS):
            if count >= FEWEST_CALLS and time.perf_counter() > until:
                break
            content = self.feed.draw()
            for name in self.calls:
                self._check_call(name, phase, content)
        if self.feed.workload.case.device == "cuda":
            for name in self.calls:
                self._check_late_call(name, phase, self.feed.draw())
        if phase == "step":
            for name, calls in self.calls.items():
                if not self.lingering.is_at_rest():
                    # It cannot be told here which module did this, so each is timed alone.
                    raise StateChanged("when timed: a thread works on, though no call is made")
                if self.lingering.works_on(calls.step):
                    self.witnesses[name].blame("it works on after its call returned")

    def _check_call(self, name: str, phase: str, content: Content) -> None:
        calls, witness = self.calls[name], self.witnesses[name]
        seen: list[Kept | None] = []
        timed = Timed(
            getattr(calls, phase),
            lambda: calls.give(content),
            lambda result: seen.append(witness.keep(result)),
        )
        clock(timed, self.feed.workload.case.device).block_seconds(1)
        for kept in filter(None, seen):
            witness.check(kept)

    def _check_late_call(self, name: str, phase: str, content: Content) -> None:
        """Check a call on inputs that the device has not written yet when the call begins."""
        calls, witness = self.calls[name], self.witnesses[name]
        result = call_late(lambda: calls.give(content), getattr(calls, phase))
        kept = witness.keep(result)
        if kept:
            witness.check(kept)


def sample_modules(
    workload: Workload,
    modules: Mapping[str, nn.Module],
    sampling: Sampling,
    *,
    baseline: str = REFERENCE,
    phases: tuple[str, ...] = PHASES,
    references: Mapping[str, impls.Implementation] | None = None,
    overwritten: Collection[str] = (),
    prepare: Callable[[nn.Module, Feed], Calls] = prepare_calls,
) -> Sampled:
    """Return the interleaved times of modules, and the reasons to refuse some of them.

    Args:
        workload: workload of the Case.
        modules: modules by name, all in the initial state.
        sampling: sampling of each phase.
        baseline: name of the module that the others are compared with.
        phases: phases to time: ``forward``, ``step`` or both.
        references: reference that a module is checked against, by the module's name; by default the
            registry's for all.
        overwritten: names of the modules that declare that the next call overwrites their results.
        prepare: function that returns the calls of a module; by default eager ones.
    """
    feed = Feed(workload)
    own = impls.implementation(workload.case.loss, REFERENCE)
    oracles = {name: (references or {}).get(name, own) for name in modules}
    # Modules with the same reference share their answers.
    answers = {id(oracle): Answers(feed, oracle) for oracle in oracles.values()}
    lingering = Lingering()
    with generators_untouched():
        calls = {name: prepare(module, feed) for name, module in modules.items()}
        witnesses = {
            name: Witness(calls[name], answers[id(oracles[name])], name in overwritten)
            for name in calls
        }
        trial = Trial(feed, calls, witnesses, baseline, lingering)
        timings = {phase: trial.sample(phase, sampling) for phase in phases}
    return Sampled(timings, trial.refusals())
