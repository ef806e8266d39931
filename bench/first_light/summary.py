"""The summary of a first light, one page of Markdown, from what is in its folder."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lossbench.bench.first_light.goals import goal_rows
from lossbench.bench.first_light.progress import LightResult, read_progress
from lossbench.bench.first_light.steps import LightStep
from lossbench.bench.format import factor, si
from lossbench.bench.machine.environment import Environment
from lossbench.bench.run.order import place_of_record
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS, Record
from lossbench.bench.selftest.report import SelfTestReport
from lossbench.bench.stamped import load_report

SUMMARY = "summary.md"
# What does not fit on a page is in the logs and records.
MOST_LINES = 12
TESTED = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", re.MULTILINE)


def write_summary(folder: Path, steps: Sequence[LightStep]) -> Path:
    """Write the summary of what is there, and return its file.

    Raises:
        UsageError: if the folder has no first light, or a record or report in it is damaged.
    """
    path = folder / SUMMARY
    path.write_text("\n".join(_lines(folder, steps)) + "\n", encoding="utf-8")
    return path


def _lines(folder: Path, steps: Sequence[LightStep]) -> Iterator[str]:
    records = {name: _records(folder / name) for name in ("quick", "cuda")}
    yield from _about(folder)
    yield from _table(_step_rows(steps, read_progress(folder)))
    yield from _tests(folder / "tests.log")
    yield from _selftest(folder / "selftest")
    for name, found in records.items():
        yield from _run(name, found)
    yield "## Goals of the variant triton\n"
    yield from _table(list(goal_rows(records["cuda"])))


def _about(folder: Path) -> Iterator[str]:
    log = folder / "card.log"
    try:
        seen = TypeAdapter(Environment).validate_json(log.read_bytes())
    except (OSError, ValidationError):
        yield "# First light\n\nThe step `card` has not told which card this is.\n"
        return
    packages = ", ".join(f"{name} {version}" for name, version in seen.packages.items())
    products = ", ".join(f"{name} {value}" for name, value in seen.precision.items())
    yield f"# First light: {seen.gpu}\n"
    yield f"- machine {seen.machine}: {seen.cpu}, {seen.cores} cores, {seen.system}"
    yield f"- Python {seen.python}, torch {seen.torch}, CUDA {seen.cuda}, {packages}"
    yield f"- commit {seen.revision or 'unknown'}"
    yield f"- products: {products}"
    yield from (f"- warning: {warning}" for warning in seen.warnings)
    yield ""


def _step_rows(
    steps: Sequence[LightStep], results: Mapping[str, LightResult]
) -> list[dict[str, str]]:
    return [
        {
            "step": step.name,
            "what": step.summary,
            "result": results[step.name].status if step.name in results else "not begun",
            "seconds": f"{results[step.name].seconds:.0f}" if step.name in results else "",
        }
        for step in steps
    ]


def _tests(log: Path) -> Iterator[str]:
    found = TESTED.findall(log.read_text(errors="replace")) if log.is_file() else []
    counts = Counter(outcome.lower() for _, outcome in found)
    yield f"## Tests: {_counted(counts)}\n"
    failed = [f"- {name}" for name, outcome in found if outcome in ("FAILED", "ERROR")]
    yield from _shortened(failed, log.name)


def _selftest(place: Path) -> Iterator[str]:
    for path in sorted(place.glob("*/selftest.json")):
        report = load_report(path, SelfTestReport, "the figures of a self-test")
        yield "## Self-test\n"
        yield from _table(
            [
                {"promise": check.promise, "found": check.found, "outcome": check.outcome}
                for check in report.checks
            ]
        )


def _run(name: str, records: Sequence[Record]) -> Iterator[str]:
    yield f"## Preset {name}: {_counted(Counter(record.status for record in records))}\n"
    yield from _table(list(_best_rows(records)))
    bad = [r for r in records if r.status not in ("passed", "departs", "unsupported")]
    reasons = [f"- {r.case.loss} {r.variant}, {r.case}: {r.status}: {r.reason}" for r in bad]
    yield from _shortened(reasons, f"{name}/{RECORDS}")


def _best_rows(records: Iterable[Record]) -> Iterator[Mapping[str, str]]:
    """Yield for each Case the fastest variant, and beside it the variant triton."""
    ordered = sorted(records, key=place_of_record)
    for case, group in groupby(ordered, key=lambda record: record.case):
        timed = {record.variant: record.step for record in group if record.step}
        if not timed:
            continue
        best = min(timed, key=lambda variant: timed[variant].median_seconds)
        seconds = timed[best].median_seconds
        speedup, triton = timed[best].speedup, timed.get("triton")
        yield {
            "case": f"{case.loss} {case}",
            "fastest": best,
            "step": si(seconds, "s"),
            "of the reference": f"{factor(speedup.median)}x" if speedup else "",
            "triton": si(triton.median_seconds, "s") if triton else "",
        }


def _records(folder: Path) -> list[Record]:
    return read_records(folder) if (folder / RECORDS).is_file() else []


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none yet"


def _shortened(lines: Sequence[str], place: str) -> Iterator[str]:
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"- and {len(lines) - MOST_LINES} more, see `{place}`"
    if lines:
        yield ""


def _table(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown, and an empty one after it."""
    if not rows:
        return
    yield f"| {' | '.join(rows[0])} |"
    yield f"| {' | '.join('---' for _ in rows[0])} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row.values())} |"
    yield ""
