"""Print an answer of ``choose``."""

import math
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossbench.bench.choose.answer import Answer
from lossbench.bench.choose.candidates import Candidate
from lossbench.bench.choose.changes import paid_after
from lossbench.bench.format import binary, si, spread
from lossbench.bench.marks import FEW_PROCESSES, OF_THE_VARIANT, SHARED_COMPILE, marks_of, signs
from lossbench.impls.registry import REFERENCE

INDENT = 2


def answer_text(answer: Answer) -> Group:
    """Return the printed answer: the variant, the reasons, the others, the changes, the code."""
    case = answer.request.case
    parts: list[RenderableType] = [
        Text.assemble((case.loss, "bold"), "  ", (str(case), "dim")),
        Text.assemble("use ", (answer.best.variant, "bold green"), _sign(answer.best)),
    ]
    sections: dict[str, Text | Table | None] = {
        "why": _facts(_why(answer)),
        "how certain": Text("\n".join(_sureness(answer))),
        "runners-up": _runners_up(answer) if answer.runners_up else None,
        "left out": Text("\n".join(_left_out(answer))),
        "what would change it": Text("\n".join(change.text for change in answer.changes)),
        "in production": Text(answer.code),
        "based on": Text("\n".join(_grounds(answer))),
    }
    for title, body in sections.items():
        if body is not None and not (isinstance(body, Text) and not body.plain):
            parts += [Text(f"\n{title}", "bold"), _indented(body)]
    return Group(*parts)


def _indented(body: Text | Table) -> RenderableType:
    """Return a body indented. Padding crops at the console's width: commands must stay whole."""
    if isinstance(body, Text):
        return Text("\n".join(f"{' ' * INDENT}{line}" for line in body.plain.splitlines()))
    return Padding(body, (0, 0, 0, INDENT), expand=False)


def _facts(rows: Iterator[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, fact in rows:
        table.add_row(Text(name), Text(fact))
    return table


def _why(answer: Answer) -> Iterator[tuple[str, str]]:
    best, steps = answer.best, answer.request.steps
    about = "about " if best.interpolated else ""
    mark = signs(vars(best), [FEW_PROCESSES])
    faster = f", {spread(best.speedup)}{mark} the reference's speed" if best.speedup else ""
    yield "time", f"{about}{si(best.step_seconds, 's')} per step{faster}"
    if steps is not None:
        yield "total time", f"{about}{si(best.total_seconds(steps), 's')} for {steps:,} steps"
    yield "memory", f"{about}{binary(best.step_peak_bytes)} at the peak of a step"
    yield "error", f"{best.error:.0e} at most, relative to the reference in float64"
    yield "compile time", _compiling(answer)
    yield "degenerate inputs", _degenerate(best)


def _compiling(answer: Answer) -> str:
    best = answer.best
    if not best.compiled:
        return "none"
    eager = [r.candidate for r in answer.runners_up if not r.candidate.compiled]
    against = min(eager, key=lambda candidate: candidate.step_seconds, default=None)
    cost = _cost(best)
    steps = paid_after(best, against) if against else math.inf
    if against is None or steps == math.inf:
        return cost
    return (
        f"{cost}, saved after {steps:,.0f} steps against {against.variant}, the fastest eager one"
    )


def _cost(candidate: Candidate) -> str:
    return f"{candidate.compile_seconds:.3g} s{signs(vars(candidate), [SHARED_COMPILE])}"


def _sign(candidate: Candidate) -> str:
    return signs(vars(candidate), OF_THE_VARIANT)


def _degenerate(best: Candidate) -> str:
    if best.variant == REFERENCE:
        return "it is the reference"
    if not best.tried:
        return "not tried, as for all compiled variants"
    parts = [f"worse on {', '.join(best.worse)}"] if best.worse else []
    parts += [f"better on {', '.join(best.better)}"] if best.better else []
    return "; ".join(parts) or "same as the reference"


def _sureness(answer: Answer) -> Iterator[str]:
    if not answer.rival:
        yield "it is the only eligible variant"
        return
    rival = next(r for r in answer.runners_up if r.candidate.variant == answer.rival)
    mark = _mark(answer, rival.candidate)
    figures = f"`{answer.rival}` takes {spread(rival.ratio)}{mark} its time"
    if answer.verdict == "clear":
        yield f"clear: {figures}"
    elif answer.verdict == "same":
        yield f"the same: {figures}, either will do"
    else:
        yield f"unclear: {figures}; the records cannot tell which is faster. To find out:"
        yield answer.measurement


def _mark(answer: Answer, other: Candidate) -> str:
    """Return the mark of a ratio to the best variant, if either rests on too few processes."""
    few = any(FEW_PROCESSES.applies(vars(each)) for each in (answer.best, other))
    return FEW_PROCESSES.sign * few


def _runners_up(answer: Answer) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(
        ("variant", "step", "relative time [95%]", "peak", "error", "compile time")
    ):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for runner in answer.runners_up:
        other = runner.candidate
        compiling = _cost(other) if other.compiled else ""
        table.add_row(
            Text(other.variant + _sign(other)),
            si(other.step_seconds, "s"),
            Text(spread(runner.ratio) + _mark(answer, other)),
            binary(other.step_peak_bytes),
            f"{other.error:.0e}",
            compiling,
        )
    return table


def _left_out(answer: Answer) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for each in answer.excluded:
        by_reason.setdefault(each.reason, []).append(each.variant)
    for reason, variants in by_reason.items():
        yield f"{', '.join(variants)}: {reason}"


def _grounds(answer: Answer) -> Iterator[str]:
    source, best = answer.source, answer.best
    first, last = source.first[:10], source.last[:10]
    when = f"on {last}" if first == last else f"from {first} to {last}"
    commits = ", ".join(commit[:7] or "none" for commit in source.commits)
    yield f"records of {source.host}, made {when} at commit {commits}"
    if source.host.torch != answer.torch:
        yield f"of another torch: this is torch {answer.torch}, and ratios differ between releases;"
        yield "  --measure measures on this one"
    sizes = ", ".join(
        f"{size.batch}x{size.dim}, C={size.classes} ({size.share:.0%})" for size in best.sizes
    )
    if answer.interpolated:
        yield f"interpolated in log space between {sizes}; --measure measures this size"
    else:
        yield f"measured at {sizes.removesuffix(' (100%)')}"
    everyone = [best, *(runner.candidate for runner in answer.runners_up)]
    yield from map(str, marks_of(map(vars, everyone)))
