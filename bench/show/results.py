"""The table of a run, and what it warns of."""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossbench import impls
from lossbench.bench.format import binary, si, spread
from lossbench.bench.machine.conditions import BUSY_ELSEWHERE
from lossbench.bench.measure.ceilings import limit
from lossbench.bench.measure.compilation import WarmCompilation
from lossbench.bench.printable import printable
from lossbench.bench.run.economics import best_eager, break_even_steps
from lossbench.bench.run.records import Record

VERDICT_STYLES = {"faster": "green", "slower": "red", "same": "", "unclear": "yellow"}
COLUMNS = {
    "step": 8,
    "forward": 8,
    "speed-up [95%]": 24,
    "samples/s": 9,
    "peak": 8,
    "saved": 8,
    "ops": 7,
    "of limit": 15,
    "error": 6,
}


def results_table(records: Sequence[Record]) -> Group:
    """Return the table of a run: a block a Case, the fastest first, what was not timed last."""
    longest = max((len(record.variant) for record in records), default=0)
    blocks: list[RenderableType] = [_columns(longest, show_header=True)]
    for case, group in groupby(sorted(records, key=_order), key=lambda record: record.case):
        table = _columns(longest, show_header=False)
        blocks += [Text.assemble((case.loss, "bold"), "  ", (str(case), "dim")), table]
        together = list(group)
        for record in together:
            # Text, since the brackets of a variant's name would be taken for markup.
            table.add_row(Text(f"  {record.variant}"), *_cells(record))
            blocks += [Text(f"  {record.variant}: {note}", "dim") for note in _notes(record)]
            blocks += [
                Text(f"  {record.variant}: {note}", "dim") for note in _pays(record, together)
            ]
    return Group(*blocks)


def _columns(longest: int, *, show_header: bool) -> Table:
    """Return an empty table of fixed widths, so that those of all blocks stand in line."""
    table = Table(box=None, pad_edge=False, show_header=show_header, header_style="bold")
    table.add_column("variant", width=longest + 2)
    for name, width in COLUMNS.items():
        table.add_column(name, justify="right", no_wrap=True, width=width)
    table.add_column("verdict")
    return table


def _notes(record: Record) -> Iterable[str]:
    if record.reason:
        yield f"{record.status}: {printable(record.reason)}"
    if record.compilation:
        done = record.compilation
        yield (
            f"compiled in {done.compile_seconds:.3g} s{' from the cache' * done.cached}"
            f"{_warm(record.warm_compilation)}, {done.graphs} graphs, {done.graph_breaks} breaks; "
            f"{done.recompiles} more for batches of {', '.join(map(str, done.sweep))}"
        )
    if record.counters and record.counters.synchronisations:
        yield f"waits for the device {record.counters.synchronisations} times a step"


def _warm(warm: WarmCompilation | None) -> str:
    if warm is None:
        return ""
    found = "" if warm.cached else ", code missing"
    return (
        f" ({warm.compile_seconds:.3g} s in a new process{found}, "
        f"after {warm.start_seconds:.3g} s to start the compiler)"
    )


def _pays(record: Record, group: Sequence[Record]) -> Iterable[str]:
    """Yield after how many steps a compiled variant has paid for its compilation."""
    against = best_eager(group)
    if record.compilation is None or record.step is None or against is None:
        return
    steps = break_even_steps(record, against)
    when = "never pays" if steps == math.inf else f"has paid after {steps:,.0f} steps"
    yield f"{when} against {against.variant}, the fastest eager one"


def _order(record: Record) -> tuple[Any, ...]:
    case = record.case
    loss = [loss.name for loss in impls.losses()].index(case.loss)
    sizes = (
        case.device,
        case.data,
        case.dtype,
        case.dim,
        case.classes,
        case.batch,
        case.seed,
        case.autocast,
    )
    return loss, sizes, record.step.median_seconds if record.step else math.inf


def _cells(record: Record) -> Iterable[str | Text]:
    error = f"{max((part.error for part in record.agreement), default=math.nan):.0e}"
    if record.step is None or record.forward is None or record.memory is None:
        figures = [""] * 8 + [error if record.agreement else ""]
        return [*figures, Text(record.status, style="yellow")]
    verdict = "reference" if record.variant == "reference" else record.step.verdict
    return [
        si(record.step.median_seconds, "s"),
        si(record.forward.median_seconds, "s"),
        _speedup(record),
        si(record.case.batch / record.step.median_seconds, ""),
        binary(record.memory.step_peak_bytes),
        binary(record.memory.saved_bytes),
        f"{record.counters.operators}" if record.counters else "",
        attained(record),
        error,
        Text(verdict, style=VERDICT_STYLES.get(verdict, "dim")),
    ]


def _speedup(record: Record) -> str:
    if record.variant == "reference" or record.step is None or record.step.speedup is None:
        return ""
    return spread(record.step.speedup)


def attained(record: Record) -> str:
    """Return which share of the attainable speed a step reaches, and what bounds that."""
    if record.ceilings is None or record.step is None:
        return ""
    least = limit(record.case, "step", record.ceilings)
    return f"{least.seconds / record.step.median_seconds:.0%} {least.bound}"


def warnings(records: Sequence[Record]) -> list[str]:
    """Return what spoils the times of a run, a line each."""
    lines = sorted({line for record in records for line in record.environment.warnings})
    timed = [record.step for record in records if record.step]
    disturbed = sum(step.elsewhere > BUSY_ELSEWHERE for step in timed)
    if disturbed:
        most = max(step.elsewhere for step in timed)
        lines.append(
            f"{disturbed} of {len(timed)} cells were timed while other processes kept more than "
            f"{BUSY_ELSEWHERE:g} of a processor busy, {most:.1f} at most"
        )
    slowed = sum(any(samples.throttled for samples in step.processes) for step in timed)
    if slowed:
        lines.append(f"the GPU's clock was held down in {slowed} of {len(timed)} cells")
    return lines
