"""What a run prints of its progress where there is no terminal."""

from io import StringIO

from rich.console import Console

from lossbench.bench.case.cases import Case
from lossbench.bench.show.progress import Lines


def test_a_run_says_that_it_starts_then_a_line_a_case():
    text = StringIO()
    lines = Lines(Console(file=text, width=160), total=4, done=2)
    assert text.getvalue() == "[2/4] starting\n"
    for task in ("judging fused", "sampling"):
        lines.working(Case("center", 8, 4, 3), task)
    assert text.getvalue().splitlines()[1:] == ["[2/4] center 8x4, C=3, cpu, gaussian"]
