"""A session held against the one of ``--benchmark-compare``: by ratios and counts, not by times.

Times of two sessions differ with what else the machine does, and a gate on them fires on identical
code. The ratio to the reference stands beside each, sampled interleaved, and bytes are counted. A
process keeps the luck of its memory layout, which moves one ratio in ten by more than a tenth, so
that ratios are judged where both sessions have sampled them in several.
"""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from lossbench.bench.compare.comparison import (
    CELL,
    HIGH,
    KINDS,
    LOW,
    MARGIN,
    SPEEDUP,
    Comparison,
    compare,
)
from lossbench.bench.compare.table import changes_table
from lossbench.bench.errors import UsageError
from lossbench.bench.format import LEAST_WIDTH
from lossbench.bench.frame import tidy
from lossbench.bench.frame.pytest_benchmark import SOURCE, benchmark_rows
from lossbench.bench.frame.runs import record_row
from lossbench.bench.run.records import Record

RATIOS = [SPEEDUP, LOW, HIGH]


def add_options(group: pytest.OptionGroup) -> None:
    group.addoption(
        "--fail-on",
        metavar="KINDS",
        type=lambda text: text.split(","),
        default=[],
        help="exit with 1 where such a change to the run of --benchmark-compare is found; "
        f"some of {', '.join(KINDS)}",
    )
    group.addoption(
        "--margin",
        type=float,
        default=MARGIN,
        help="how far speed-ups may differ, relative, and still count as equal "
        "(default: %(default)s)",
    )


class Baseline:
    """Compares what is timed with what an earlier session has saved."""

    def __init__(self, config: pytest.Config) -> None:
        self._fail_on = config.getoption("fail_on")
        self._margin = config.getoption("margin")
        self._processes = config.getoption("processes")
        self._earlier: list[dict[str, Any]] = []
        self._found: Comparison | None = None
        self.timed: list[Record] = []
        unknown = ", ".join(kind for kind in self._fail_on if kind not in KINDS)
        if unknown:
            raise pytest.UsageError(
                f"--fail-on: expected some of {', '.join(KINDS)}; got {unknown}"
            )

    def pytest_benchmark_compare_machine_info(self, compared_benchmark: dict[str, Any]) -> None:
        """Take note of what is compared with."""
        try:
            self._earlier += benchmark_rows(compared_benchmark, "--benchmark-compare")
        except UsageError as error:
            raise pytest.UsageError(str(error)) from error

    @property
    def _alone(self) -> bool:
        return self._processes < 2 or any((row.get("processes") or 1) < 2 for row in self._earlier)

    def pytest_sessionstart(self) -> None:
        if self._fail_on and not self._earlier:
            raise pytest.UsageError("--fail-on needs an earlier run that --benchmark-compare finds")
        if self._alone and {"slower", "faster"} & set(self._fail_on):
            raise pytest.UsageError("--fail-on slower or faster needs --processes 3 in both runs")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not (self._earlier and self.timed):
            return
        current = tidy({**record_row(record), "source": SOURCE} for record in self.timed)
        # What was not chosen this time has not vanished.
        earlier = tidy(self._earlier).merge(current[CELL], on=CELL)
        for frame in (earlier, current):
            frame.loc[frame["processes"].fillna(1) < 2, RATIOS] = float("nan")
        self._found = compare(earlier, current, self._margin)
        changed = earlier.empty or any(self._found.cells[kind].any() for kind in self._fail_on)
        if self._fail_on and changed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._found is None:
            return
        console = Console(width=LEAST_WIDTH, file=StringIO())
        console.print(changes_table(self._found, ("earlier", "now")))
        terminalreporter.section("ratios to the reference, and counts, against the earlier run")
        terminalreporter.write_line(console.file.getvalue())
        if self._alone:
            terminalreporter.write_line(
                "ratios are judged where both runs were made with --processes 3, or more"
            )
