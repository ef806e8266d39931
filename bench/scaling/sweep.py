"""Measure variants along one axis of the sizes: agreement, bytes and times, in a worker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lossbench import impls
from lossbench.bench.case.calls import Calls, prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.feed import Feed
from lossbench.bench.case.workload import Workload
from lossbench.bench.limits import sampling_seconds
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.agreement import measure_agreement, workload_of
from lossbench.bench.measure.memory import measure_memory
from lossbench.bench.scaling.laws import Counted, Point, Scaling, fit_laws
from lossbench.bench.timing.clock import Timed
from lossbench.bench.timing.sampling import Sampling, interleave


def held_bytes(workload: Workload) -> int:
    """Return the bytes of one batch, the parameters, the buffers and an upstream gradient."""
    held = [*workload.inputs[0].values(), *workload.state.values(), workload.cotangents[0]]
    return sum(tensor.nbytes for tensor in held if tensor is not None)


def count_bytes(case: Case, variant: str) -> Counted:
    """Return the bytes of a step; called in a worker."""
    memory = measure_memory(case, impls.implementation(case.loss, variant))
    return Counted(held_bytes(workload_of(case)), memory.step_peak_bytes, memory.saved_bytes)


def disagreement(case: Case, variant: str) -> str:
    """Return the disagreements of a variant with the reference; called in a worker."""
    parts = measure_agreement(case, impls.implementation(case.loss, variant))
    return "; ".join(str(part) for part in parts if not part.passed)


def median_step_seconds(
    cases: Sequence[Case], variant: str, sampling: Sampling
) -> tuple[float, ...]:
    """Return the median time of a step in each Case; called in a worker.

    The sizes are interleaved, so that a drift of the machine affects all of them equally and does
    not change the exponent.
    """
    calls = {str(case): _calls(one_draw(case), variant) for case in cases}
    steps = {name: Timed(call.step, call.prepare) for name, call in calls.items()}
    timings = interleave(steps, str(cases[0]), sampling, cases[0].device)
    return tuple(timings[str(case)].median_seconds for case in cases)


def one_draw(case: Case) -> Workload:
    """Return the workload of a Case with only its first batch."""
    return Workload.of(case, draws=1)


def _calls(workload: Workload, variant: str) -> Calls:
    module = workload.module(impls.implementation(workload.case.loss, variant))
    return prepare_calls(module, Feed(workload))


class _Refused(Exception):  # noqa: N818 - a variant that is not measured is no error
    """A variant must not be measured; the message is the reason."""


@dataclass
class Sweeper:
    """Measures variants in a worker.

    Attributes:
        worker: worker to measure in.
        sampling: sampling of the times.
        timeout_seconds: time without an answer after which a variant is given up.
        tell: function to call with a line of progress.
    """

    worker: Worker
    sampling: Sampling
    timeout_seconds: float
    tell: Callable[[str], None]
    _counts: dict[tuple[Case, str], Counted] = field(default_factory=dict)

    def along(self, axis: str, cases: Sequence[Case], variant: str) -> Scaling:
        """Return the growth of a variant over Cases, the smallest first.

        The variant must agree with the reference in the first Case. After a failure at one size,
        larger sizes are skipped.
        """
        counted: list[Counted] = []
        reason = ""
        try:
            self._require_agreement(cases[0], variant)
            counted.extend(self.count(case, variant) for case in cases)
        except Lost as lost:
            # The list holds the Cases that were counted before the failure.
            reason = f"{lost.status} at {cases[len(counted)]}: {lost}"
        except _Refused as refused:
            reason = str(refused)
        seconds, untimed = self._seconds(cases[: len(counted)], variant)
        points = tuple(
            Point(getattr(case, axis), time, count)
            for case, time, count in zip(cases, seconds, counted, strict=False)
        )
        return Scaling(variant, axis, points, fit_laws(points), untimed or reason)

    def _seconds(self, cases: Sequence[Case], variant: str) -> tuple[tuple[float, ...], str]:
        """Return the times in the Cases, the largest left out until all succeed, and the reason."""
        reason = ""
        timeout = sampling_seconds(self.timeout_seconds, self.sampling.budget_seconds, phases=1)
        while cases:
            self.tell(f"{variant}: timing up to {cases[-1]}")
            try:
                return self.worker.ask(
                    timeout, median_step_seconds, cases, variant, self.sampling
                ), reason
            except Lost as lost:
                reason = f"{lost.status} in timing up to {cases[-1]}: {lost}"
                cases = cases[:-1]
        return (), reason

    def count(self, case: Case, variant: str) -> Counted:
        """Return the bytes of a step.

        Raises:
            Lost: if the worker fails.
        """
        # The centre lies on every axis, so it is counted once and kept.
        if (case, variant) not in self._counts:
            self.tell(f"{variant}: counting {case}")
            self._counts[case, variant] = self.worker.ask(
                self.timeout_seconds, count_bytes, case, variant
            )
        return self._counts[case, variant]

    def _require_agreement(self, case: Case, variant: str) -> None:
        implementation = impls.implementation(case.loss, variant)
        reason = implementation.unsupported(case.device, case.held_dtype)
        if reason is not None:
            raise _Refused(f"unsupported: {reason}")
        if implementation.departs:
            raise _Refused(f"departs: {implementation.departs}")
        self.tell(f"{variant}: checking {case}")
        wrong = self.worker.ask(self.timeout_seconds, disagreement, case, variant)
        if wrong:
            raise _Refused(f"refused at {case}: {wrong}")
