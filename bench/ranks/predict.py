"""Predict a step of many ranks, and compare predictions of few ranks with measured steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lossbench.bench.case.cases import Case
from lossbench.bench.machine.rank_workers import RankWorkers
from lossbench.bench.machine.worker import Worker
from lossbench.bench.ranks.model import (
    Links,
    RankPrediction,
    Shape,
    communication_seconds,
    fit_links,
)
from lossbench.bench.ranks.probe import rank_costs, sample_beside_imagined, sample_collectives
from lossbench.bench.timing.sampling import Sampling

LINKED_RANKS = 2


@dataclass(frozen=True)
class CheckedPrediction:
    """A prediction for ranks of this machine beside what was measured.

    Attributes:
        prediction: prediction; its computation was measured on all ranks at once.
        step_seconds: measured time of a step.
    """

    prediction: RankPrediction
    step_seconds: float

    @property
    def ratio(self) -> float:
        """The predicted time over the measured one."""
        return self.prediction.step_seconds / self.step_seconds


@dataclass
class Predictor:
    """Measures and predicts a Case over numbers of ranks.

    Attributes:
        case: Case with the batch of one rank.
        variants: names of the variants.
        sampling: sampling of each time.
        timeout_seconds: time without an answer after which a measurement is given up.
        make: function that returns a worker that has not started.
        tell: function to call with a line of progress.
        shape: shape of the collectives.
    """

    case: Case
    variants: tuple[str, ...]
    sampling: Sampling
    timeout_seconds: float
    make: Callable[[], Worker]
    tell: Callable[[str], None]
    shape: Shape = "ring"

    def measure_links(self) -> Links:
        """Return the links between two ranks on this machine.

        Raises:
            Lost: if a rank fails.
        """
        self.tell("timing collectives of 2 ranks")
        workers = RankWorkers(LINKED_RANKS, self.make)
        try:
            timed = workers.ask(self.timeout_seconds, sample_collectives)[0]
        finally:
            workers.close()
        return fit_links(timed, LINKED_RANKS)

    def predict(self, counts: Sequence[int], links: Links) -> list[RankPrediction]:
        """Return the predictions of every variant for numbers of ranks.

        Raises:
            Lost: if the worker fails.
        """
        worker, found = self.make(), list[RankPrediction]()
        try:
            for count in counts:
                self.tell(f"timing one of {count} ranks")
                case = self._case_of(count)
                costs = worker.ask(
                    self.timeout_seconds, rank_costs, case, self.variants, self.sampling
                )
                for name, cost in costs.items():
                    sent = communication_seconds(cost.traffic, count, links, self.shape)
                    found.append(
                        RankPrediction(
                            name, count, cost.computed_seconds, sent, cost.traffic,
                            cost.parameter_bytes, cost.peak_bytes,
                        )
                    )  # fmt: skip
        finally:
            worker.close()
        return found

    def check(self, counts: Sequence[int], links: Links) -> list[CheckedPrediction]:
        """Return predictions for ranks of this machine, beside their measured steps.

        Raises:
            Lost: if a rank fails.
        """
        found = list[CheckedPrediction]()
        for count in counts:
            self.tell(f"timing {count} ranks")
            workers = RankWorkers(count, self.make)
            try:
                (steps, *_) = workers.ask(
                    self.timeout_seconds, sample_beside_imagined,
                    self._case_of(count), self.variants, self.sampling,
                )  # fmt: skip
            finally:
                workers.close()
            for name, step in steps.items():
                sent = communication_seconds(step.traffic, count, links, self.shape)
                prediction = RankPrediction(
                    name, count, step.computed_seconds, sent, step.traffic, 0, 0
                )
                found.append(CheckedPrediction(prediction, step.step_seconds))
        return found

    def _case_of(self, count: int) -> Case:
        return replace(self.case, batch=self.case.batch * count, ranks=count).checked()
