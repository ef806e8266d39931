"""The table of a run, and the warnings about its times."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import get_args

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossbench.bench.format import binary, counted, folded, removed_note, rounded
from lossbench.bench.frame.runs import record_row
from lossbench.bench.machine.conditions import BUSY_ELSEWHERE
from lossbench.bench.marks import OF_THE_VARIANT, SHARED_COMPILE, marks_of, signs
from lossbench.bench.measure.compilation import Compilation, WarmCompilation
from lossbench.bench.measure.plausibility import EXCESSES
from lossbench.bench.metric import Row
from lossbench.bench.metrics import SHOWN, derived
from lossbench.bench.printable import printable
from lossbench.bench.run.economics import best_eager, break_even_steps, normal_seconds, reference_of
from lossbench.bench.run.mixture import mixture_of, setting_of
from lossbench.bench.run.order import UNREGISTERED, place_of_record
from lossbench.bench.run.records import Record, Status
from lossbench.impls.registry import REFERENCE

# The columns that even a narrow table has.
ESSENTIAL = ("variant", "step_seconds", "step_speedup", "step_peak_bytes", "verdict")
# The styles of the verdicts, and of the statuses that are printed without a verdict.
STYLES = {"faster": "green", "slower": "red", "unclear": "yellow", REFERENCE: "dim"}
STYLES |= dict.fromkeys(get_args(Status), "yellow")


def results_table(records: Sequence[Record], width: int | None = None) -> Group:
    """Return the table of a run: one block per Case, the fastest variant first, untimed last.

    Args:
        records: Records of the run.
        width: number of characters that a line may have; ``None`` for no limit.
    """
    ordered = sorted(records, key=place_of_record)
    figures = [record_row(record) for record in ordered]
    rows = [_cells(row) for row in figures]
    headings = {"variant": "variant", **{metric.name: metric.heading for metric in SHOWN}}
    # The blocks are separate tables, so equal widths keep their columns in line.
    widths = {name: max(map(len, (words, *(row[name] for row in rows))))
              for name, words in headings.items()}  # fmt: skip
    removed = _removed(widths, width)
    headings = {name: words for name, words in headings.items() if name not in removed}
    blocks: list[RenderableType] = [_block(headings, widths, [], show_header=True)]
    together = zip(ordered, rows, strict=True)
    for case, group in groupby(together, key=lambda pair: pair[0].case):
        found, cells = zip(*group, strict=True)
        blocks += [Text.assemble((case.loss, "bold"), "  ", (str(case), "dim"))]
        blocks += [_block(headings, widths, cells, show_header=False)]
        for record in found:
            notes = [*_notes(record), *_pays(record, found)]
            lines = (folded(f"  {record.variant}: {note}", width, " " * 4) for note in notes)
            blocks += [Text(line, "dim") for line in lines]
    blocks += [Text(folded(str(mark), width), "dim") for mark in marks_of(figures)]
    names = [metric.label for metric in SHOWN if metric.name in removed]
    return Group(*blocks, *([removed_note(names)] if names else []))


def _removed(widths: Mapping[str, int], width: int | None) -> list[str]:
    """Return the columns to leave out of a table that is too wide, from the left."""
    spare = [name for name in widths if name not in ESSENTIAL]
    # A column has two spaces beside it.
    total = sum(widths.values()) + 2 * (len(widths) - 1)
    removed = list[str]()
    while width is not None and total > width and spare:
        removed.append(spare.pop(0))
        total -= widths[removed[-1]] + 2
    return removed


def _cells(row: Row) -> dict[str, str]:
    """Return the text of every column."""
    whole = {**row, **derived(row)}
    name = f"  {row['variant']}{signs(row, OF_THE_VARIANT)}"
    return {"variant": name, **{m.name: m.cell(whole) for m in SHOWN}}


def _block(
    headings: Mapping[str, str],
    widths: Mapping[str, int],
    rows: Iterable[Mapping[str, str]],
    *,
    show_header: bool,
) -> Table:
    table = Table(box=None, pad_edge=False, show_header=show_header, header_style="bold")
    for name, heading in headings.items():
        left = name in ("variant", "verdict")
        table.add_column(
            heading, justify="left" if left else "right", no_wrap=True, width=widths[name]
        )
    for row in rows:
        # As Text, because rich would take the brackets in a variant's name for markup.
        table.add_row(*(Text(row[name], STYLES.get(row[name], "")) for name in headings))
    return table


def _notes(record: Record) -> Iterable[str]:
    if not record.registered:
        yield UNREGISTERED
    if record.reason:
        yield f"{record.status}: {printable(record.reason)}"
    excess = record.below_limit("step")
    if excess:
        yield f"its step takes less time than the limit of this machine: {EXCESSES[excess]}"
    if record.origin:
        yield f"from {record.origin}"
    if record.compilation:
        done, sign = record.compilation, signs(record_row(record), [SHARED_COMPILE])
        yield (
            f"compiled in {done.compile_seconds:.3g} s{sign}{' from the cache' * done.cached}"
            f"{_warm(done, record.warm_compilation)}, {counted(done.graphs, 'graph')}, "
            f"{counted(done.graph_breaks, 'break')}; "
            f"{counted(done.recompiles, 'recompilation')} for batches of "
            f"{', '.join(map(str, done.sweep))}"
        )
    if record.traffic:
        given = binary(record.traffic.given_bytes)
        yield f"each rank gives {given} to {record.traffic.calls} collectives a step"
    if record.counters and record.counters.synchronisations:
        yield f"waits for the device {record.counters.synchronisations} times a step"


def _warm(cold: Compilation, warm: WarmCompilation | None) -> str:
    if warm is None:
        return ""
    found = "" if warm.cached else ", code missing"
    start = (
        f"{cold.start_seconds:.3g} s of it to start the compiler"
        if cold.fresh
        else f"after {warm.start_seconds:.3g} s to start the compiler"
    )
    return f" ({start}; {warm.compile_seconds:.3g} s in a new process with the cache{found})"


def _pays(record: Record, group: Sequence[Record]) -> Iterable[str]:
    """Yield the number of steps after which compiling a variant has saved its own time."""
    against = best_eager(group)
    if not (record.compilation and record.step and against and against.step):
        return
    compile_seconds = record.compilation.compile_seconds
    reference = reference_of(group)
    seconds = (normal_seconds(each, reference) for each in (record, against))
    steps = break_even_steps(compile_seconds, *seconds)
    when = "never saves time" if steps == math.inf else f"saves time after {rounded(steps)} steps"
    yield f"compiling {when}, compared with {against.variant}, the fastest eager variant"


def warnings(records: Sequence[Record]) -> list[str]:
    """Return the warnings about disturbed times of a run, one line each."""
    lines = sorted({line for record in records for line in record.environment.warnings})
    mixture = mixture_of(setting_of(record.environment) for record in records)
    lines += [f"the run is {mixture}"] * bool(mixture)
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
        lines.append(f"the GPU's clock was throttled in {slowed} of {len(timed)} cells")
    return lines
