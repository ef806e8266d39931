"""What a first light runs, in which time, and what it goes on with."""

import sys
import time

import pytest

from lossbench.bench.errors import UsageError
from lossbench.bench.first_light.child import run_limited
from lossbench.bench.first_light.folder import begin, pack
from lossbench.bench.first_light.progress import PROGRESS, read_progress
from lossbench.bench.first_light.session import run_steps
from lossbench.bench.first_light.steps import SUMMARY_SECONDS, limit_seconds, steps

NAMES = ["card", "tests", "selftest", "quick", "cuda"]


class Machine:
    """Simulated commands that take some seconds each, on a simulated clock."""

    def __init__(self, seconds, codes=()):
        self.now, self.seconds, self.codes = 0.0, seconds, dict(codes)
        self.ran, self.limits = [], []

    def run(self, _command, log, limit):
        name = log.stem
        self.ran.append(name)
        self.limits.append(limit)
        self.now += min(self.seconds, limit)
        code = self.codes.get(name, 0)
        if isinstance(code, type):
            raise code
        return code if self.seconds <= limit else None

    def light(self, folder, minutes=8.0):
        return run_steps(folder, steps(folder), minutes, self.tell, self.run, lambda: self.now)

    def tell(self, step, limit):
        assert limit > 0, step


@pytest.fixture
def folder(tmp_path):
    begin(tmp_path / "light")
    return tmp_path / "light"


def test_all_steps_end_within_the_time(folder):
    slow = Machine(seconds=1000.0)
    results = slow.light(folder)
    assert slow.now == pytest.approx(8 * 60 - SUMMARY_SECONDS)
    assert slow.ran == NAMES
    assert {result.status for result in results.values()} == {"stopped"}


def test_time_that_is_left_over_falls_to_later_steps(folder):
    fast = Machine(seconds=5.0)
    fast.light(folder)
    shares = [step.seconds for step in steps(folder)]
    assert fast.limits[0] < 1.1 * shares[0]
    assert fast.limits[-1] == pytest.approx(8 * 60 - SUMMARY_SECONDS - 4 * 5)


def test_a_failure_stops_no_other_step_and_is_tried_again(folder):
    results = Machine(1.0, {"tests": 1}).light(folder)
    assert [results[name].status for name in NAMES] == ["passed", "failed", *["passed"] * 3]
    again = Machine(2.0)
    assert again.light(folder)["tests"].status == "passed"
    assert again.ran == ["tests"]
    assert read_progress(folder)["tests"].seconds == 3.0


def test_what_was_done_before_ctrl_c_is_kept(folder):
    with pytest.raises(KeyboardInterrupt):
        Machine(1.0, {"selftest": KeyboardInterrupt}).light(folder)
    again = Machine(1.0)
    again.light(folder)
    assert again.ran == ["selftest", "quick", "cuda"]


def test_a_run_that_has_begun_is_resumed(folder):
    cuda = steps(folder, "card 7")[-1]
    assert cuda.command(folder)[-2:] == ["--machine", "card 7"]
    (folder / "cuda").mkdir()
    (folder / "cuda" / "plan.json").write_text("{}")
    assert cuda.command(folder)[1:] == ["-m", "lossbench", "run", "--resume", str(folder / "cuda")]


def test_no_time_is_less_than_none(folder):
    assert limit_seconds(-3.0, steps(folder)) == 0.0


def test_a_folder_is_begun_once(folder):
    with pytest.raises(UsageError, match="has a first light already; --resume"):
        begin(folder)
    (folder / PROGRESS).write_text("[")
    with pytest.raises(UsageError, match="is damaged"):
        read_progress(folder)


def test_all_files_are_packed_into_one(folder):
    (folder / "tests.log").write_text("log")
    pack(folder)
    assert pack(folder).stat().st_size > 0
    assert not (folder / "first-light.tar.part").exists()


def test_a_command_that_takes_too_long_is_interrupted_and_its_output_kept(tmp_path):
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, lambda *_: (print('tidied'), exit(130)))\n"
        "print('began', flush=True)\n"
        "time.sleep(60)"
    )
    start, log = time.monotonic(), tmp_path / "log"
    assert run_limited([sys.executable, "-c", code], log, 2.0) is None
    assert time.monotonic() - start < 30
    assert log.read_text() == "began\ntidied\n"


def test_the_exit_code_of_a_command_is_returned(tmp_path):
    assert run_limited([sys.executable, "-c", "exit(3)"], tmp_path / "log", 60.0) == 3
