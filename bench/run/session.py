"""Measure Cases in worker processes: compare, count and time the variants of each."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.errors import UsageError
from lossbench.bench.limits import sampling_seconds
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.scratch import ScratchFolder
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.ceilings import Ceilings, measure_ceilings
from lossbench.bench.measure.judge import (
    Judgement,
    RefusedTimes,
    Times,
    joined,
    judge_variant,
    measure_times,
)
from lossbench.bench.measure.plausibility import check_plausibility
from lossbench.bench.run.compiling import measure_compile_costs
from lossbench.bench.run.plan import RunPlan
from lossbench.bench.run.records import Record, Status
from lossbench.bench.timing.sampling import Sampling
from lossbench.impls.compiled import is_compiled
from lossbench.impls.cost import Phase
from lossbench.impls.outside import origin_of
from lossbench.impls.registry import REFERENCE


class RunWatcher(Protocol):
    """Receives the progress of a run."""

    def working(self, case: Case, task: str) -> None:
        """Show that a task on a Case begins."""

    def recorded(self, record: Record) -> None:
        """Show a Record that is on the disk."""


class Session:
    """Measures Cases in worker processes, and ends the processes on exit."""

    def __init__(self, plan: RunPlan, watcher: RunWatcher) -> None:
        """Prepare to measure with the settings of a plan, and report to a watcher."""
        self.plan = plan
        self.watcher = watcher
        self.environment = current_environment(plan.machine, plan.threads, plan.affinity)
        # The judge compiles the code; workers that share its folder need not compile it again.
        self._compiled = ScratchFolder()
        self.judge = self._worker()
        # They live as long as the run: to start three for each case would take most of its time.
        self._samplers = [self.judge]
        if plan.processes > 1:
            self._samplers = [self._worker() for _ in range(plan.processes)]
        self._ceilings: dict[str, Ceilings] = {}

    def __enter__(self) -> Self:
        """Start the worker, and return the session.

        Raises:
            UsageError: if the worker does not start.
        """
        try:
            self.judge.ask(self.plan.timeout_seconds, torch.get_num_threads)
        except Lost as lost:
            self.__exit__()
            raise UsageError(
                f"no worker can measure here: {lost}; expected memory for torch within `ulimit -v` "
                "and --memory"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers, and remove the folder of compiled code."""
        self._end_workers()
        self._compiled.remove()

    def _end_workers(self) -> None:
        """End all processes; the next question to a worker starts another."""
        for worker in {self.judge, *self._samplers}:
            worker.close()

    def _worker(self, compiled: Path | None = None) -> Worker:
        return Worker(
            self.plan.threads,
            affinity=self.plan.affinity,
            memory_bytes=self.plan.memory_bytes,
            compiled=compiled or self._compiled.path,
        )

    def measure(self, case: Case, variants: list[str], *, baseline: bool) -> Iterator[Record]:
        """Yield a Record of each variant of a Case, first of the variants that cannot be timed.

        Args:
            case: the Case to measure in.
            variants: the names of the variants to measure.
            baseline: whether the reference can be timed, although it is not among the variants.
        """
        judged: dict[str, dict[str, Any]] = {}
        for variant in variants:
            self.watcher.working(case, f"checking {variant}")
            found = self._judge(case, variant)
            if isinstance(found, Record):
                yield found
            else:
                judged[variant] = found
        if not judged:
            return
        self.watcher.working(case, f"timing {', '.join(judged)}")
        baseline = baseline or REFERENCE in judged
        for variant, times in self._time(case, list(judged), baseline=baseline).items():
            yield self._timed(case, variant, judged[variant], times)

    def _judge(self, case: Case, variant: str) -> dict[str, Any] | Record:
        """Return the judgement of a variant if it can be timed, or else its final Record.

        The judgement has the names of the Record's fields, with the cost of compiling.
        """
        seen: dict[str, Any] = {}
        timeout = self.plan.timeout_seconds
        try:
            judgement = self._judgement(case, variant)
            seen = _seen(judgement)
            if judgement.status != "passed":
                return self._record(case, variant, judgement.status, judgement.reason, **seen)
            if is_compiled(variant):
                self.watcher.working(case, f"compiling {variant}")
                seen |= measure_compile_costs(self._worker, timeout, case, variant)
        except Lost as lost:
            return self._record(case, variant, lost.status, str(lost), **seen)
        return seen

    def _judgement(self, case: Case, variant: str) -> Judgement:
        """Return what the worker finds of a variant.

        Raises:
            Lost: if the worker fails.
        """
        return self.judge.ask(self.plan.timeout_seconds, judge_variant, case, variant)

    def _timed(
        self, case: Case, variant: str, judged: dict[str, Any], times: Times | RefusedTimes | Lost
    ) -> Record:
        if isinstance(times, Lost):
            return self._record(case, variant, times.status, str(times), **judged)
        if isinstance(times, RefusedTimes):
            return self._record(case, variant, "refused", times.reason, **judged)
        seconds: dict[Phase, float] = {
            "forward": times.forward.median_seconds,
            "step": times.step.median_seconds,
        }
        ceilings = self._ceilings_of(case)
        if ceilings and check_plausibility(case, seconds, ceilings):
            # The machine may have been busy while its ceilings were measured.
            ceilings = self._ceilings[case.device] = ceilings.joined(self._measure_ceilings(case))
        reason = check_plausibility(case, seconds, ceilings) if ceilings else ""
        if reason:
            return self._record(case, variant, "refused", reason, **judged, ceilings=ceilings)
        return self._record(case, variant, "passed", **judged, **_seen(times), ceilings=ceilings)

    def _time(
        self, case: Case, variants: list[str], *, baseline: bool
    ) -> dict[str, Times | RefusedTimes | Lost]:
        """Return the times of variants, or the reason why there are none.

        A variant that crashes the worker loses the times of all others too. The variants are then
        timed again, each of them alone with the reference. Beside a variant that was refused for
        what it did when timed, the others may have been disturbed: they are timed again together.
        """
        together = tuple(dict.fromkeys([REFERENCE, *variants] if baseline else variants))
        try:
            times = self._sample(case, together)
        except Lost as lost:
            if len(variants) == 1:
                return {variants[0]: lost}
        else:
            refused = [name for name in variants if isinstance(times[name], RefusedTimes)]
            rest = [name for name in variants if name not in refused]
            again = self._time_again(case, rest, baseline=baseline) if refused else {}
            return {name: again.get(name, times[name]) for name in variants}
        alone: dict[str, Times | RefusedTimes | Lost] = {}
        for variant in variants:
            alone.update(self._time(case, [variant], baseline=baseline))
        return alone

    def _time_again(
        self, case: Case, variants: list[str], *, baseline: bool
    ) -> dict[str, Times | RefusedTimes | Lost]:
        """Time variants in new processes: a refused one may still work in a thread of the old."""
        self._end_workers()
        return self._time(case, variants, baseline=baseline) if variants else {}

    def _sample(self, case: Case, variants: tuple[str, ...]) -> dict[str, Times | RefusedTimes]:
        """Return the times of variants, sampled in the plan's number of processes.

        A variant that one of the processes refuses has no times.

        Raises:
            Lost: if one of the processes fails.
        """
        budget = self.plan.budget_seconds / self.plan.processes
        phases = 3 if self.plan.graphs else 2
        timeout = sampling_seconds(self.plan.timeout_seconds, budget, phases)
        found = []
        for process in range(self.plan.processes):
            sampling = Sampling(budget, self.plan.half_width, 1000 * case.seed + process)
            found.append(self._sample_in(process, timeout, case, variants, sampling))
        return {name: joined([times[name] for times in found]) for name in variants}

    def _sample_in(
        self, process: int, timeout: float, case: Case, variants: tuple[str, ...], how: Sampling
    ) -> dict[str, Times | RefusedTimes]:
        """Return the times of variants in one of the plan's processes.

        Raises:
            Lost: if the process fails.
        """
        return self._samplers[process].ask(
            timeout,
            measure_times,
            case,
            variants,
            how,
            validate=self.plan.validate,
            graphs=self.plan.graphs,
        )

    def _ceilings_of(self, case: Case) -> Ceilings | None:
        """Return the machine's ceilings for a Case's device, measured only once."""
        if case.device not in self._ceilings:
            measured = self._measure_ceilings(case)
            if measured is None:
                return None
            self._ceilings[case.device] = measured
        return self._ceilings[case.device]

    def _measure_ceilings(self, case: Case) -> Ceilings | None:
        """Measure the ceilings in every dtype, since a product may be computed in another one."""
        try:
            return self.judge.ask(
                self.plan.timeout_seconds, measure_ceilings, case.device, tuple(DTYPES)
            )
        except Lost:
            return None

    def _record(
        self, case: Case, variant: str, status: Status, reason: str = "", **seen: Any
    ) -> Record:
        made = datetime.now(UTC).isoformat(timespec="seconds")
        origin = origin_of(case.loss, variant)
        seen |= {"origin": origin, "validated": self.plan.validate}
        return Record(case, variant, status, self.environment, made, reason, **seen)


def _seen(found: Judgement | Times) -> dict[str, Any]:
    """Return the measurements by the names of the Record's fields."""
    names = {field.name for field in fields(found)} - {"status", "reason"}
    return {name: getattr(found, name) for name in names}
