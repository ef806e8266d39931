"""Test the choice: compare choices for sizes that were not measured with measurements of them."""

from collections.abc import Iterable

from pydantic.dataclasses import dataclass
from rich.console import Group
from rich.text import Text

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.drawn import Prediction
from lossbench.bench.choose.ranking import Lead
from lossbench.bench.choose.ratios import step_ratio
from lossbench.bench.format import checks_table, si, words_table
from lossbench.bench.promises import Check, Judged, Share, judge_promise
from lossbench.bench.run.economics import normal_seconds
from lossbench.bench.run.records import Record
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.intervals import Interval
from lossbench.impls.registry import REFERENCE

MOST_SLOWER = 0.10
LEAST_WITHIN = 0.95
MOST_UNCLEAR = 0.25
TRIAL_COLUMNS = (
    "loss",
    "size",
    "chosen",
    "how certain",
    "predicted step",
    "measured step",
    "fastest",
    "time over fastest",
    "",
)


@dataclass(frozen=True, config=KEPT)
class ChoiceTrial:
    """A choice for a size that was not in the records, and the measurement of that size.

    Attributes:
        case: Case at that size.
        chosen: name of the chosen variant.
        verdict: certainty of the choice.
        predicted_seconds: modelled time of a step of the chosen variant.
        seconds: measured time of a step, by variant; only variants that passed have one.
        best: name of the fastest variant; empty if none was timed.
        ratio: chosen variant's time over the fastest one's; ``None`` if it was not timed.
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
        """Whether the chosen variant takes at most 10% longer than the fastest."""
        return self.ratio is not None and self.ratio.median <= 1 + MOST_SLOWER


@dataclass(frozen=True, kw_only=True)
class TrialReport(Judged):
    """The report of all trials; ``budget_seconds`` is the sampling time of a phase of a size.

    Attributes:
        seed: seed of the sizes.
        trials: trials, one per size.
    """

    seed: int
    trials: tuple[ChoiceTrial, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """The two promises of the choice: it is right, and it is seldom in doubt."""
        within = Share(sum(trial.within for trial in self.trials), len(self.trials))
        unclear = Share(sum(trial.verdict == "unclear" for trial in self.trials), len(self.trials))
        longer = f"take at most {MOST_SLOWER:.0%} longer than best"
        return (
            judge_promise(
                f"at least {LEAST_WITHIN:.0%} of choices {longer}",
                within,
                holds=within.value >= LEAST_WITHIN,
            ),
            judge_promise(
                f"at most {MOST_UNCLEAR:.0%} of choices are unclear",
                unclear,
                holds=unclear.value <= MOST_UNCLEAR,
            ),
        )

    def always(self, variant: str) -> Share:
        """Return the share of right choices if one variant were always chosen."""
        count = sum(
            variant in trial.seconds
            and trial.seconds[variant] <= (1 + MOST_SLOWER) * trial.seconds[trial.best]
            for trial in self.trials
        )
        return Share(count, len(self.trials))


def trial_of(prediction: Prediction, records: Iterable[Record]) -> ChoiceTrial:
    """Return the comparison of a prediction with the records measured afterwards."""
    timed = {r.variant: r for r in records if r.case == prediction.case and r.step}
    reference = timed.get(REFERENCE)
    seconds = {name: normal_seconds(record, reference) for name, record in timed.items()}
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
    """Return every trial, the check of the promise, and the share of each variant chosen always."""
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
