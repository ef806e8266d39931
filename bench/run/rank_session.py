"""Measure Cases of several ranks: all ranks check, count and time each variant together."""

from typing import Self

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.rank_workers import RankWorkers
from lossbench.bench.machine.worker import Lost
from lossbench.bench.measure.ceilings import Ceilings
from lossbench.bench.measure.judge import Judgement, RefusedTimes, Times
from lossbench.bench.ranks.judge import joined_judgement, judge_part, sample_part
from lossbench.bench.run.plan import RunPlan
from lossbench.bench.run.session import RunWatcher, Session
from lossbench.bench.timing.sampling import Sampling


class RankSession(Session):
    """A session with groups of workers in the place of single workers.

    No ceilings are measured: they are those of one process, and several share the machine here.
    """

    def __init__(self, plan: RunPlan, watcher: RunWatcher) -> None:
        """Prepare to measure with the settings of a plan, and report to a watcher."""
        super().__init__(plan, watcher)
        self._judges = self._group()
        self._groups = [self._judges]
        if plan.processes > 1:
            self._groups = [self._group() for _ in range(plan.processes)]

    def _group(self) -> RankWorkers:
        return RankWorkers(self.plan.ranks, self._worker)

    def __enter__(self) -> Self:
        """Start the first workers, and return the session.

        Raises:
            UsageError: if one does not start.
        """
        try:
            self._judges.start()
        except Lost as lost:
            self.__exit__()
            raise UsageError(
                f"{lost}; expected memory for {self.plan.ranks} ranks; take fewer with --ranks"
            ) from None
        return self

    def _end_workers(self) -> None:
        """End all processes; the next question to a group starts others."""
        super()._end_workers()
        for group in (self._judges, *self._groups):
            group.close()

    def _judgement(self, case: Case, variant: str) -> Judgement:
        return joined_judgement(
            self._judges.ask(self.plan.timeout_seconds, judge_part, case, variant)
        )

    def _sample_in(
        self, process: int, timeout: float, case: Case, variants: tuple[str, ...], how: Sampling
    ) -> dict[str, Times | RefusedTimes]:
        return self._groups[process].ask(
            timeout, sample_part, case, variants, how, validate=self.plan.validate
        )[0]

    def _ceilings_of(self, _case: Case) -> Ceilings | None:
        return None
