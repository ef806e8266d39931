"""The page of a first light, from a folder with some of its steps."""

from dataclasses import replace

from pydantic import TypeAdapter

from lossbench.bench.case.presets import PRESETS
from lossbench.bench.first_light.folder import begin
from lossbench.bench.first_light.goals import GOALS, goal_rows
from lossbench.bench.first_light.progress import LightResult, write_progress
from lossbench.bench.first_light.steps import steps
from lossbench.bench.first_light.summary import write_summary
from lossbench.bench.machine.environment import Environment
from tests.makers.records import BAD, ENVIRONMENT, record
from tests.makers.runs import paired, save_run

CARD = replace(ENVIRONMENT, gpu="NVIDIA H100 80GB HBM3")


def test_the_page_tells_what_was_run_and_what_it_gave(tmp_path):
    folder = tmp_path / "light"
    begin(folder)
    write_progress(folder, {"card": LightResult("passed", 4.0, 0)})
    (folder / "card.log").write_bytes(TypeAdapter(Environment).dump_json(CARD))
    (folder / "tests.log").write_text(
        "tests/impls/test_cuda.py::test_a[arcface-fused float32] PASSED [ 10%]\n"
        "tests/impls/test_cuda.py::test_b FAILED [ 20%]\n"
        "FAILED tests/impls/test_cuda.py::test_b - assert 1 == 2\n"
    )
    slow = record(variant="reference", step=paired(1.0), environment=CARD)
    fast = record(variant="triton", step=paired(0.5), environment=CARD)
    wrong = record(variant="fused", status="refused", reason="it is off", agreement=(BAD,),
                   forward=None, step=None)  # fmt: skip
    save_run(folder / "quick", [slow, fast, wrong])
    page = write_summary(folder, steps(folder)).read_text()
    assert page.startswith("# First light: NVIDIA H100 80GB HBM3\n")
    assert "the precision of float32 products highest" in page
    assert "the GPU's clock rate cannot be read" in page
    assert "| card | the card, the software and the precision of products | passed | 4 |" in page
    assert "| cuda | the preset cuda | not begun |  |" in page
    assert "## Tests: 1 passed, 1 failed\n\n- tests/impls/test_cuda.py::test_b\n" in page
    assert "## Preset quick: 2 passed, 1 refused" in page
    assert "| island 4x2, C=3, cpu, gaussian | triton | 500 µs | 2.0x | 500 µs |" in page
    assert "- island fused, 4x2, C=3, cpu, gaussian: refused: it is off" in page
    assert "## Preset cuda: none yet" in page
    assert page.count("not measured") == len(GOALS)


def test_a_folder_without_any_step_has_a_page(tmp_path):
    begin(tmp_path / "light")
    page = write_summary(tmp_path / "light", steps(tmp_path)).read_text()
    assert "has not told which card this is" in page


def test_a_goal_is_told_beside_what_was_measured():
    found = record(case=GOALS[0].case, variant="triton", step=paired(0.7))
    met, *others = goal_rows([found])
    assert met["goal"], met["step"] == ("800 µs", "700 µs")
    assert [row["step"] for row in others] == ["not measured"] * (len(GOALS) - 1)


def test_every_goal_is_a_case_of_the_preset():
    cases = [case for grid in PRESETS["cuda"].grids for case in grid.cases("cuda")]
    assert {goal.case for goal in GOALS} <= set(cases)
