"""The choice on trial: what was chosen for sizes that nobody had measured, and then measured."""

from collections.abc import Iterable

from pydantic.dataclasses import dataclass
from rich.console import Group
from rich.text import Text

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.drawn import Prediction
from lossbench.bench.choose.ranking import Lead
from lossbench.bench.choose.ratios import Neighbour, step_ratio
from lossbench.bench.format import checks_table, si, words_table
from lossbench.bench.promises import Check, Judged, Share, judge_promise
from lossbench.bench.run.records import Record
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.intervals import Interval
from lossbench.impls.registry import REFERENCE

MOST_SLOWER = 0.10
LEAST_SHARE = 0.9
TRIAL_COLUMNS = (
    "loss",
    "size",
    "chosen",
    "how sure",
    "interpolated",
    "measured",
    "best",
    "its time",
    "",
)


@dataclass(frozen=True, config=KEPT)
class ChoiceTrial:
    """One size that was not in the records.

    Attributes:
        case: which.
        chosen: the variant that was recommended.
        verdict: how sure that was.
        predicted_seconds: a step of it, as interpolated.
        seconds: a step of every variant that agreed, as measured then.
        best: the fastest of them; empty where none was timed.
        ratio: the chosen one's time over the best one's; ``None`` where it was not timed.
    """

    case: Case
    chosen: str
    verdict: Lead
    predicted_seconds: float
    seconds: dict[str, float]
    best: str
    ratio: Interval | None

    @property
    def within(self) -> bool:
        """Whether the chosen variant takes at most a tenth longer than the best."""
        return self.ratio is not None and self.ratio.median <= 1 + MOST_SLOWER


@dataclass(frozen=True, kw_only=True)
class TrialReport(Judged):
    """All trials; ``budget_seconds`` are those of a phase of a size.

    Attributes:
        seed: of the sizes.
        trials: a size each.
    """

    seed: int
    trials: tuple[ChoiceTrial, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """The one promise of the choice."""
        share = Share(sum(trial.within for trial in self.trials), len(self.trials))
        promise = (
            f"within {MOST_SLOWER:.0%} of the best: at least {LEAST_SHARE:.0%} of what is chosen"
        )
        return (judge_promise(promise, share, holds=share.value >= LEAST_SHARE),)

    def always(self, variant: str) -> Share:
        """Return the share that would be within a tenth, if one variant were always taken."""
        count = sum(
            variant in trial.seconds
            and trial.seconds[variant] <= (1 + MOST_SLOWER) * trial.seconds[trial.best]
            for trial in self.trials
        )
        return Share(count, len(self.trials))


def trial_of(prediction: Prediction, records: Iterable[Record]) -> ChoiceTrial:
    """Return how a recommendation fares against what was then measured."""
    timed = {r.variant: r for r in records if r.case == prediction.case and r.step}
    reference = timed.get(REFERENCE)
    seconds = {name: Neighbour(1.0, record, reference).seconds for name, record in timed.items()}
    best = min(seconds, key=lambda name: seconds[name], default="")
    chosen = prediction.ranking.best
    ratio = step_ratio(timed[best], timed[chosen.variant]) if chosen.variant in timed else None
    return ChoiceTrial(
        case=prediction.case,
        chosen=chosen.variant,
        verdict=prediction.ranking.verdict,
        predicted_seconds=chosen.step_seconds,
        seconds=seconds,
        best=best,
        ratio=ratio,
    )


def trial_table(report: TrialReport) -> Group:
    """Return every trial, the promise, and what would be right with one variant always."""
    table = words_table(*TRIAL_COLUMNS)
    for trial in report.trials:
        table.add_row(*map(Text, _cells(trial)))
    variants = sorted({variant for trial in report.trials for variant in trial.seconds})
    always = "\n".join(f"always {name}: {report.always(name)}" for name in variants)
    return Group(table, Text(), checks_table(report.checks), Text("\n" + always))


def _cells(trial: ChoiceTrial) -> list[str]:
    measured = trial.seconds.get(trial.chosen)
    return [
        trial.case.loss,
        str(trial.case),
        trial.chosen,
        trial.verdict,
        si(trial.predicted_seconds, "s"),
        si(measured, "s") if measured else "not timed",
        trial.best,
        f"{trial.ratio.median:.3g}x" if trial.ratio else "",
        "" if trial.within else "slower",
    ]
