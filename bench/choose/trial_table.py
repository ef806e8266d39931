"""The trials of the choice as a table."""

from io import StringIO

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from bench.choose.trial import MOST_SLOWER, Trial, TrialReport
from bench.table import LEAST_WIDTH, si

COLUMNS = ("loss", "size", "chosen", "how sure", "interpolated", "measured", "best", "its time", "")


def trial_table(report: TrialReport) -> Group:
    """Return every trial, then how many were right, and would be with one variant always."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, no_wrap=True)
    for trial in report.trials:
        table.add_row(*map(Text, _cells(trial)))
    total = len(report.trials)
    lines = [
        f"within {MOST_SLOWER:.0%} of the best: {report.right} of {total}; "
        f"at least {report.needed} promised: {report.outcome}"
    ]
    variants = sorted({variant for trial in report.trials for variant in trial.seconds})
    lines += [f"always {name}: {report.right_always(name)} of {total}" for name in variants]
    return Group(table, Text("\n" + "\n".join(lines)))


def _cells(trial: Trial) -> list[str]:
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


def trial_text(report: TrialReport) -> str:
    """Return the same as plain text."""
    text = StringIO()
    Console(file=text, width=LEAST_WIDTH).print(trial_table(report))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
