"""Times without the checks of inputs are marked behind the name of the variant."""

from io import StringIO

import pytest
from rich.console import Console

from lossbench.bench.frame.runs import record_row
from lossbench.bench.marks import UNCHECKED
from lossbench.bench.report.readme import renewed
from lossbench.bench.show.results import results_table
from tests.makers.records import record
from tests.makers.runs import save_run


@pytest.mark.parametrize("validated", [True, False])
def test_tables_and_readme_mark_it(tmp_path, validated):
    found = record(validated=validated)
    printed = StringIO()
    Console(width=200, file=printed).print(results_table([found]))
    assert ("vectorized‡" in printed.getvalue()) is not validated
    assert (UNCHECKED.meaning in printed.getvalue()) is not validated
    save_run(tmp_path / "run", [found])
    page = tmp_path / "page.md"
    page.write_text("<!-- winners: run -->\n<!-- end of winners -->\n")
    assert ("vectorized‡" in renewed(page, ())[0]) is not validated


def test_what_was_not_timed_is_not_marked():
    refused = record(status="refused", reason="wrong", forward=None, step=None, validated=False)
    assert record_row(refused)["validated"] is None
    assert not UNCHECKED.applies(record_row(refused))
