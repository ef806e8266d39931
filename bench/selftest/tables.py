"""The tables of a self-test's report."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lossbench.bench.format import checks_table, figures_table, words_table
from lossbench.bench.printable import printable
from lossbench.bench.promises import Share
from lossbench.bench.selftest.contenders import PUBLIC_CHEATS, contenders
from lossbench.bench.selftest.coverage import LEAST_COVERED, Coverage
from lossbench.bench.selftest.gates import Alarm
from lossbench.bench.selftest.report import PLANTED, SelfTestReport, share_of
from lossbench.bench.selftest.trials import PairTrial

LONGEST_REASON = 160


def report_table(report: SelfTestReport) -> Group:
    """Return all tables of a report: the promises, then the figures behind them."""
    return Group(
        Text(
            "Shares of trials, each with its exact 95% interval in per cent. planted: slowdown of "
            "the copy, which spins after each call. measured: median of the copy's time over the "
            "reference's. elsewhere: processors that other processes kept busy, median. under "
            "load: another process keeps a core busy, and torch has one thread less.\n"
        ),
        checks_table(report.checks),
        Text("\nVerdicts against the planted effect", "bold"),
        _curve(report),
        Text("\nAlarms on the same pairs: called slower", "bold"),
        _gates(report),
        *_coverage(report.coverage or ()),
        Text("\nPublicly known cheats", "bold"),
        _public(report),
        Text("\nContenders", "bold"),
        _contenders(report),
        Text("\nHonest variants beside them", "bold"),
        _bystanders(report),
    )


def _curve(report: SelfTestReport) -> Table:
    table = figures_table(
        "planted", "slower", "faster", "same", "unclear", "measured", "seconds", "elsewhere"
    )
    for loaded in (False, True):
        for effect in sorted({t.effect for t in report.trials if t.loaded == loaded}):
            trials = report.select(effect, loaded=loaded)
            name = f"{effect:.0%}{', under load' * loaded}"
            shares = (share_of(trials, v) for v in ("slower", "faster", "same", "unclear"))
            table.add_row(name, *(Text(str(share)) for share in shares), *_figures(trials))
    return table


def _figures(trials: Sequence[PairTrial]) -> Iterable[str]:
    """Yield the median factor, the median and the largest of the seconds, and the median load."""
    seconds = [trial.seconds for trial in trials]
    yield f"{np.median([trial.factor for trial in trials]):.3f}x"
    yield f"{np.median(seconds):.1f}, most {max(seconds):.1f}"
    yield f"{np.median([trial.elsewhere for trial in trials]):.2f}"


def _gates(report: SelfTestReport) -> Table:
    table = figures_table(
        "gate", "for equal code", f"for {PLANTED:.0%} slower", "measured", "seconds"
    )
    same, slower = report.select(0, loaded=False), report.select(PLANTED, loaded=False)
    if slower:
        shares = (Text(str(share_of(trials, "slower"))) for trials in (same, slower))
        factor = f"{np.median([trial.factor for trial in slower]):.3f}x"
        seconds = f"{np.median([trial.seconds for trial in slower]):.1f}"
        table.add_row("lossbench", *shares, factor, seconds)
    by_gate = sorted(report.alarms, key=lambda alarm: alarm.gate)
    for gate, alarms in groupby(by_gate, key=lambda alarm: alarm.gate):
        table.add_row(gate, *_gate_cells(list(alarms)))
    return table


def _gate_cells(alarms: Sequence[Alarm]) -> Iterable[Text]:
    planted = [alarm for alarm in alarms if alarm.effect]
    for group in ([alarm for alarm in alarms if not alarm.effect], planted):
        yield Text(str(Share(sum(alarm.raised for alarm in group), len(group))))
    yield Text(f"{np.median([alarm.factor for alarm in planted]):.3f}x")
    yield Text(f"{np.median([alarm.seconds for alarm in planted]):.1f}")


def _coverage(coverage: Sequence[Coverage]) -> Iterable[Text | Table]:
    """Yield the heading and the table of the coverage, if there is one."""
    if not coverage:
        return
    yield Text("\nCoverage of the 95% intervals, by simulation", "bold")
    yield Text(
        f"At least {LEAST_COVERED:.0%} is promised, except in brackets. width: mean "
        "half-width, for a standard deviation of 2% from round to round, and of another 2% between "
        "processes if there are several.\n"
    )
    processes = sorted({each.processes for each in coverage})
    columns = (f"{count} process{'es' * (count > 1)}" for count in processes)
    heads = [head for name in columns for head in (name, "width")]
    table = figures_table("noise", "rounds", *heads)
    for (noise, rounds), row in groupby(coverage, key=lambda each: (each.noise, each.rounds)):
        table.add_row(noise, str(rounds), *(cell for each in row for cell in _covered(each)))
    yield table


def _covered(each: Coverage) -> Iterable[Text]:
    """Yield the cells of a coverage: the share and the width."""
    share = f"{each.share.value:.1%}"
    yield Text(share if each.promised else f"[{share}]", "" if each.right else "red")
    yield Text(f"{each.half_width:.2%}")


def _public(report: SelfTestReport) -> Table:
    """Return the publicly known cheats, each with the contenders that try it."""
    table = words_table("cheat", "", "tried by")
    for cheat, names in PUBLIC_CHEATS.items():
        tried = [each for each in report.contenders if each.public == cheat]
        right = sum(each.right for each in tried)
        style = "green" if right == len(tried) else "red"
        words = f"{right} of {len(tried)} as expected" if tried else ""
        shown = dict.fromkeys(each.name for each in tried)
        reason = ", ".join(shown) or f"not tried: {_not_tried(names)}"
        table.add_row(cheat, Text(words, style), Text(reason))
    return table


def _not_tried(names: Sequence[str]) -> str:
    """Return why no contender of these names was entered."""
    here = {each.name for each in contenders("cpu")}
    return "--quick enters only some contenders" if here & set(names) else "needs CUDA"


def _contenders(report: SelfTestReport) -> Table:
    table = words_table("contender", "kind", "loss", "expected", "found", "reason")
    for each in report.contenders:
        found = Text(each.found, "green" if each.right else "red")
        first, *more = each.reason.split("; ")
        reason = printable(first, LONGEST_REASON) + f" (and {len(more)} more)" * bool(more)
        table.add_row(each.name, each.kind, each.loss, each.expected, found, Text(reason))
    return table


def _bystanders(report: SelfTestReport) -> Table:
    table = words_table("loss", "variant", "against a run without the bad ones")
    for each in report.bystanders:
        told = "; ".join(filter(None, (each.difference, each.times)))
        words = Text(told, "red") if told else Text("agrees", "green")
        table.add_row(each.loss, Text(each.variant), words)
    return table
