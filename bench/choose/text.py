"""Print an answer of ``choose``: the decision first, whole on 80 columns and in a pipe."""

import math
import textwrap
from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossbench.bench.choose.answer import Answer
from lossbench.bench.choose.candidates import Candidate
from lossbench.bench.choose.changes import Alternative
from lossbench.bench.choose.ranking import RunnerUp
from lossbench.bench.choose.ratios import same_rounds
from lossbench.bench.format import binary, counted, factor, figures_table, rounded, si, spread
from lossbench.bench.marks import FEW_PROCESSES, OF_THE_VARIANT, SHARED_COMPILE, marks_of, signs
from lossbench.bench.timing.intervals import Interval
from lossbench.impls.registry import REFERENCE

INDENT = "  "
WIDTH = 80
OTHERS = ("variant", "step", "relative time [95%]", "peak", "error")
"""The headings of the table of other variants."""
APART = "§ timed in other rounds than the chosen variant: compare by the relative time"


def answer_text(answer: Answer) -> Group:
    """Return the printed answer: the decision, its certainty, the evidence, the code."""
    parts: list[RenderableType] = [_decision(answer), Text(_asked(answer), "dim")]
    parts += [Text(f"{INDENT}{line}") for doubt in answer.doubts for line in _fold(doubt, 76)]
    parts += [
        Text(line)
        for each in answer.alternatives
        for line in _fold(f"{INDENT}{alternative_line(each)}")
    ]
    parts += [Text(line) for line in _fold(sureness(answer))]
    parts += [Text(answer.measurement)] if answer.measurement else []
    sections: dict[str, Iterable[str] | Table] = {
        "in production": answer.code.splitlines(),
        "others": _others(answer) if answer.runners_up else (),
        "why": _wrapped(reasons(answer)),
        "what would change it": _wrapped(change.text for change in answer.changes),
        "left out": _wrapped(left_out(answer)),
        "based on": _wrapped(grounds(answer)),
    }
    for title, body in sections.items():
        shown = _indented(body)
        if shown is not None:
            parts += [Text(f"\n{title}", "bold"), shown]
    return Group(*parts)


def _indented(body: Iterable[str] | Table) -> RenderableType | None:
    """Return a body indented, or ``None`` if it is empty."""
    if isinstance(body, Table):
        return Padding(body, (0, 0, 0, len(INDENT)), expand=False)
    lines = [f"{INDENT}{line}" for line in body]
    return Text("\n".join(lines)) if lines else None


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from _fold(line, WIDTH - len(INDENT))


def _fold(line: str, width: int = WIDTH) -> list[str]:
    """Return the lines of a long one, the further ones indented more than the first."""
    further = line[: len(line) - len(line.lstrip())] + INDENT
    return textwrap.wrap(
        line, width, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )


def _decision(answer: Answer) -> Text:
    best = answer.best
    figures = f": {_speedup(best)}{_costs(best)}"
    return Text.assemble("use ", (best.variant, "bold green"), sign_of(best), figures)


def _asked(answer: Answer) -> str:
    case, best = answer.request.case, answer.best
    steps = answer.request.steps
    size = f"batch {case.batch}, dim {case.dim}, classes {case.classes}"
    parts = [f"{case.loss}, {size}", f"{case.device} {case.precision}", best.basis]
    if steps:
        total = best.compile_seconds + steps * best.step_seconds
        parts.append(f"{si(total, 's')} in {steps:,} steps")
    return "\n".join(_fold(INDENT + "; ".join(parts)))


def _costs(candidate: Candidate) -> str:
    """Return the time and the memory of a variant."""
    about = "" if candidate.basis == "measured" else "about "
    return f"{about}{step_text(candidate)} a step, {memory_text(candidate)} peak"


def memory_text(candidate: Candidate) -> str:
    """Return the peak memory of a variant, with two digits if it is modelled."""
    return binary(candidate.told_peak_bytes)


def step_text(candidate: Candidate) -> str:
    """Return the time of a step of a variant, with two digits if it is modelled."""
    # A modelled time is not known to three digits.
    seconds = candidate.step_seconds
    return si(seconds if candidate.basis == "measured" else float(f"{seconds:.2g}"), "s")


def _speedup(candidate: Candidate) -> str:
    if candidate.speedup is None or candidate.variant == REFERENCE:
        return ""
    return f"{factor(candidate.speedup.median)}x the reference's speed, "


def alternative_line(each: Alternative) -> str:
    """Return a faster variant that a constraint hides, with its gain and costs, in one line."""
    other = each.candidate
    times = f"{factor(each.ratio.median)} times as fast"
    text = f"{each.lift}: {other.variant}{sign_of(other)}, {times}, "
    text += f"{memory_text(other)} peak"
    if other.compiled:
        text += f"; {_pays(other, each.steps)}"
    return text


def _pays(compiled: Candidate, steps: float) -> str:
    when = f"saved after {rounded(steps)} steps" if steps < math.inf else "never saved"
    return f"compiling takes {_compile_time(compiled)}, {when}"


def _compile_time(compiled: Candidate) -> str:
    return f"{compiled.compile_seconds:.2g} s{signs(vars(compiled), [SHARED_COMPILE])}"


def sign_of(candidate: Candidate) -> str:
    """Return the signs of the marks of a variant."""
    return signs(vars(candidate), OF_THE_VARIANT)


def sureness(answer: Answer) -> str:
    """Return how certain the choice is, in one line."""
    if not answer.rival:
        return "it is the only eligible variant"
    rival = next(r for r in answer.runners_up if r.candidate.variant == answer.rival)
    takes = f"{answer.rival} takes {ratio_text(answer, rival)} its time"
    if answer.verdict == "clear":
        return f"clear: {takes}"
    if answer.verdict == "same":
        return f"the same: {takes}; either will do"
    known = answer.regret < math.inf
    cost = f"within {rounded(100 * answer.regret)}%" if known else "no bound is known"
    found_out = ". To find out:" if answer.measurement else ""
    return f"unclear: {takes}; either: {cost}{found_out}"


def ratio_text(answer: Answer, runner: RunnerUp) -> str:
    """Return a runner-up's time over the best one's, with its interval."""
    return _interval(runner.ratio) + _mark(answer, runner.candidate)


def _interval(ratio: Interval) -> str:
    known = ratio.high < math.inf
    return spread(ratio) if known else f"{factor(ratio.median)}x [unknown]"


def _mark(answer: Answer, other: Candidate) -> str:
    """Return the mark of a ratio to the best variant, if either rests on too few processes."""
    few = any(FEW_PROCESSES.applies(vars(each)) for each in (answer.best, other))
    return FEW_PROCESSES.sign * few


def reasons(answer: Answer) -> Iterator[str]:
    """Yield the evidence for the chosen variant, one line each."""
    best = answer.best
    if best.speedup and best.variant != REFERENCE:
        mark = signs(vars(best), [FEW_PROCESSES])
        yield f"speed-up {_interval(best.speedup)}{mark} over the reference"
    yield f"error {best.error:.0e} at most, relative to the reference in float64"
    if best.compiled:
        yield f"compile time {_compile_time(best)}"
    yield f"degenerate inputs: {_degenerate(best)}"
    yield _basis(best)


def _basis(best: Candidate) -> str:
    if best.basis == "measured":
        return "measured at this size"
    sizes = counted(best.sizes, "measured size")
    if best.model_error is None:
        return f"extrapolated from {sizes}, too few to know the error"
    error = f"without each of them its time was within {rounded(100 * best.model_error)}%"
    if best.basis == "modelled":
        return f"modelled from {sizes}; {error} at nine in ten"
    return (
        f"extrapolated: no measured size is within a factor of 10; the model has {sizes}, and "
        f"{error} at nine in ten"
    )


def _degenerate(best: Candidate) -> str:
    if best.variant == REFERENCE:
        return "it is the reference"
    if not best.tried:
        return "not tried" + ", as for all compiled variants" * best.compiled
    parts = [f"worse on {', '.join(best.worse)}"] if best.worse else []
    parts += [f"better on {', '.join(best.better)}"] if best.better else []
    return "; ".join(parts) or "same as the reference"


def _others(answer: Answer) -> Table:
    table = figures_table(*OTHERS)
    for runner in answer.runners_up:
        table.add_row(*map(Text, other_cells(answer, runner)))
    return table


def other_cells(answer: Answer, runner: RunnerUp) -> list[str]:
    """Return the cells of a runner-up in the table of other variants."""
    other = runner.candidate
    return [
        other.variant + sign_of(other),
        step_text(other) + "§" * _apart(answer, other),
        ratio_text(answer, runner),
        memory_text(other),
        f"{other.error:.0e}",
    ]


def _apart(answer: Answer, other: Candidate) -> bool:
    """Return whether two measured variants have times of different rounds, under other loads."""
    case = answer.request.case
    models = [each.model for each in (answer.best, other) if each.model]
    records = [model.records[case] for model in models if case in model.records]
    return len(records) == 2 and not same_rounds(*records)


def left_out(answer: Answer) -> Iterator[str]:
    """Yield the variants that are not eligible, one line per reason."""
    by_reason: dict[str, list[str]] = {}
    for each in answer.excluded:
        by_reason.setdefault(each.reason, []).append(each.variant)
    for reason, variants in by_reason.items():
        yield f"{', '.join(variants)}: {reason}"


def grounds(answer: Answer) -> Iterator[str]:
    """Yield the records that the answer rests on, and the meaning of its marks."""
    source = answer.source
    first, last = source.first[:10], source.last[:10]
    when = f"on {last}" if first == last else f"from {first} to {last}"
    commits = ", ".join(commit[:7] or "none" for commit in source.commits)
    machines = ", ".join(source.machines)
    at = "commit" if len(source.commits) == 1 else "commits"
    yield f"records of {machines} ({source.host}), made {when} at {at} {commits}"
    if source.passed_over:
        reasons = ", ".join(f"{count} {why}" for why, count in source.passed_over.items())
        yield f"passed over for better records: {reasons}"
    everyone = [answer.best, *(runner.candidate for runner in answer.runners_up)]
    everyone += [each.candidate for each in answer.alternatives]
    yield from map(str, marks_of(map(vars, everyone)))
    if any(_apart(answer, runner.candidate) for runner in answer.runners_up):
        yield APART
