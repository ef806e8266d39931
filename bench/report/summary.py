"""The answers of a run at one size: a Markdown table, a picture, and one as it is printed."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lossbench.bench.case.cases import SIZE_AXES, Case
from lossbench.bench.choose.answer import Answer, answer
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import pools_of
from lossbench.bench.choose.text import (
    answer_text,
    grounds,
    memory_text,
    sign_of,
    step_text,
)
from lossbench.bench.errors import UsageError
from lossbench.bench.format import factor, plain_text, spread
from lossbench.bench.marks import FEW_PROCESSES, signs
from lossbench.bench.report.answers import Size, reference_of, settings_of
from lossbench.bench.run.records import Record
from lossbench.impls.registry import REFERENCE

TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def answers_at(records: Iterable[Record], size: Size) -> list[Answer]:
    """Return the answer for each Loss at a size, in float32 and Gaussian data, by its first pool.

    Raises:
        UsageError: if no Loss was measured at that size.
    """
    wanted = [record for record in records if _plain(record.case)]
    found: dict[str, Answer] = {}
    for setting in settings_of(wanted, size=size):
        found.setdefault(setting.case.loss, setting.answers[0])
    if not found:
        raise UsageError(f"no record in float32 at {'x'.join(map(str, size))}")
    return list(found.values())


def _plain(case: Case) -> bool:
    usual = case.dtype == "float32" and case.data == "gaussian"
    return usual and not case.autocast and case.ranks == 1


def choose_part(records: Iterable[Record], loss: str, size: Size) -> str:
    """Return an answer of ``choose`` in float32 on the CPU, up to its evidence, as Markdown."""
    case = Case(loss, *size)
    pools = pools_of(records, case)
    if not pools:
        raise UsageError(f"no record of {loss} in float32 on the CPU")
    options = " ".join(f"--{name} {getattr(case, name)}" for name in SIZE_AXES)
    # From the records alone: this machine, which may be another one, is not told apart.
    printed = plain_text(answer_text(answer(pools, Request(case))))
    shown = printed.partition("\nwhat would change it\n")[0]
    return f"```console\n$ lossbench choose {loss} {options}\n{shown}\n...\n```\n\n"


def picture_text(answers: Sequence[Answer], address: str) -> str:
    """Return the Markdown that shows the picture of answers, and names their records.

    Args:
        answers: answers at one size.
        address: address of the picture.
    """
    return f"![{title_of(answers)}]({address})\n\n{subtitle_of(answers)}.\n\n"


def answers_text(answers: Sequence[Answer]) -> str:
    """Return the table of answers at one size as Markdown."""
    marks = dict.fromkeys(line for each in answers for line in list(grounds(each))[1:])
    notes = "".join(f"{line}.\n\n" for line in marks if not line.startswith("passed over"))
    rows = "".join(map(_row, answers))
    return (
        f"{title_of(answers)}; {subtitle_of(answers)}.\n\n{notes}"
        "| loss | use | speed-up [95%] | step | peak | the reference's | faster, with an option |\n"
        f"| --- | --- | --- | --- | --- | --- | --- |\n{rows}\n"
    )


def title_of(answers: Sequence[Answer]) -> str:
    """Return what the answers show, in a line."""
    case = answers[0].request.case
    return (
        f"Speed-up of the recommended variant over the reference, batch {case.batch}, "
        f"dim {case.dim}, classes {case.classes}, {case.precision} on {case.device}"
    )


def subtitle_of(answers: Sequence[Answer]) -> str:
    """Return the machines, dates and commits of the records, in a line."""
    hosts = dict.fromkeys(str(each.source.host) for each in answers)
    first = min(each.source.first for each in answers)[:10]
    last = max(each.source.last for each in answers)[:10]
    commits = sorted({commit[:7] for each in answers for commit in each.source.commits})
    return f"{'; '.join(hosts)}; {first} to {last}; commits {', '.join(commits)}"


def _row(found: Answer) -> str:
    best, reference = found.best, reference_of(found)
    gain = "1"
    if best.speedup and best.variant != REFERENCE:
        gain = spread(best.speedup) + signs(vars(best), [FEW_PROCESSES])
    cells = (
        found.request.case.loss,
        f"`{best.variant}{sign_of(best)}`",
        gain,
        step_text(best),
        memory_text(best),
        memory_text(reference) if reference else "",
        _more(found),
    )
    return f"| {' | '.join(cells)} |\n"


def _more(found: Answer) -> str:
    pairs = ((each, each.candidate) for each in found.alternatives)
    return "; ".join(
        f"`{other.variant}{sign_of(other)}` {factor(each.ratio.median)}x, {each.lift}"
        for each, other in pairs
    )


def answers_picture(answers: Sequence[Answer]) -> str:
    """Return the speed-ups of the recommended variants as SVG, readable in light and dark.

    It is written by a template and not by a plotting library, so that it depends on the records
    alone, and a test can compare it.
    """
    from lossbench.bench.report.filters import templates

    rows = [_bar(each) for each in answers]
    most = max(row["reach"] for row in rows) * 1.1
    scale = _Scale(most)
    return (
        templates()
        .get_template("answers.svg.j2")
        .render(
            rows=rows,
            x=scale,
            ticks=[tick for tick in TICKS if tick <= most],
            title=title_of(answers),
            subtitle=subtitle_of(answers),
        )
    )


def _bar(found: Answer) -> dict[str, Any]:
    """Return the figures of a row of the picture."""
    best = found.best
    speedup = best.speedup if best.variant != REFERENCE else None
    gain = speedup.median if speedup else 1.0
    # The largest gain by an option; its interval is that of another comparison, and is not drawn.
    option = max((each.ratio.median for each in found.alternatives), default=1.0) * gain
    ends = (speedup.low, speedup.high) if speedup and speedup.low > 0 else (gain, gain)
    return {
        "loss": found.request.case.loss,
        "variant": best.variant,
        "gain": gain,
        "low": ends[0],
        "high": ends[1] if ends[1] < math.inf else gain,
        "option": option if option > gain else None,
        "reach": max(gain, option, ends[1] if ends[1] < math.inf else gain),
        "words": f"{factor(gain)}×" if speedup else "1",
    }


class _Scale:
    """A logarithmic scale from a ratio to the horizontal place in the picture, in pixels."""

    LEFT, RIGHT, LEAST = 190.0, 640.0, 0.8

    def __init__(self, most: float) -> None:
        self.most = most

    def __call__(self, value: float) -> float:
        share = math.log(max(value, self.LEAST) / self.LEAST) / math.log(self.most / self.LEAST)
        return round(self.LEFT + share * (self.RIGHT - self.LEFT), 1)
