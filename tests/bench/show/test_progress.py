"""What a run prints of its progress where there is no terminal."""

from io import StringIO

from rich.console import Console

from lossbench.bench.case.cases import Case
from lossbench.bench.show.progress import Bar, Lines, progress_bar


def test_a_run_says_that_it_starts_then_a_line_a_case():
    text = StringIO()
    lines = Lines(Console(file=text, width=160), total=4, done=2)
    assert text.getvalue() == "[2/4] starting\n"
    for task in ("judging fused", "sampling"):
        lines.working(Case("center", 8, 4, 3), task)
    assert text.getvalue().splitlines()[1:] == ["[2/4] center 8x4, C=3, cpu, gaussian"]


def test_a_sweep_says_which_worker_has_which_case():
    text, case = StringIO(), Case("center", 8, 4, 3)
    lines = Lines(Console(file=text, width=40), total=4, done=0)
    for task in ("starting", "checking fused"):
        lines.measuring("worker one", case, task)
    lines.measuring("worker one", None)
    lines.noted("worker one has gone: center 8x4, C=3, cpu, gaussian goes to another")
    assert text.getvalue().splitlines()[1:] == [
        "[0/4] worker one: center 8x4, C=3, cpu, gaussian",
        "[0/4] worker one has gone: center 8x4, C=3, cpu, gaussian goes to another",
    ]


def test_the_bar_of_a_sweep_has_a_line_for_each_busy_worker():
    out, case = Console(file=StringIO(), width=160), Case("center", 8, 4, 3)
    with progress_bar(out, "cells") as progress:
        bar = Bar(progress, total=4, done=0)
        bar.measuring("two", case, "checking fused")
        bar.measuring("one", case, "starting")
        (task,) = progress.tasks
        assert task.description.splitlines() == [
            "one: center 8x4, C=3, cpu, gaussian: starting",
            "two: center 8x4, C=3, cpu, gaussian: checking fused",
        ]
        bar.measuring("one", None)
        bar.measuring("two", None)
        assert task.description == "no worker is busy"


def test_a_narrow_terminal_shortens_the_description_and_not_the_count():
    narrow = Console(file=StringIO(), width=80, force_terminal=True)
    progress = progress_bar(narrow, "cells")
    progress.add_task("center 64x64, C=10, cpu, gaussian: checking vectorized", total=232)
    Console(file=(text := StringIO()), width=80).print(progress.get_renderable())
    assert "0/232 cells, left" in text.getvalue()
