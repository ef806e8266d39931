import subprocess
import sys
import time

import pytest
import torch

from lossbench.bench.machine.conditions import Conditions, Usage, current_conditions, read_gpu

BURN = "import time; end = time.time() + 20\nwhile time.time() < end: pass"


def test_a_quiet_machine_is_not_warned_about():
    quiet = Conditions(load=0.3, governor="performance", memory_available_bytes=2**45)
    assert quiet.warnings(cores=2) == ()


@pytest.mark.parametrize(
    ("spoiled", "warning"),
    [
        (Conditions(load=2.5), "load average is 2.5 on 2 cores"),
        (Conditions(governor="powersave"), "frequency governor is powersave"),
        (Conditions(throttles=3), "slowed down by heat 3 times"),
        (Conditions(memory_pressure=12.0), "wait for memory 12%"),
        (Conditions(memory_available_bytes=1), "less than a tenth of the memory is free"),
        (Conditions(gpu_processes=2), "2 other processes compute on the GPU"),
    ],
)
def test_what_spoils_times_is_told_in_a_line(spoiled, warning):
    (line,) = spoiled.warnings(cores=2)
    assert warning in line


class NVMLError(Exception):
    """An error of NVIDIA's library, which no class of torch or Python stands above."""


NVMLError.__module__ = "pynvml"


@pytest.mark.parametrize("error", [ModuleNotFoundError, RuntimeError, NVMLError])
def test_a_card_that_may_not_be_queried_is_unknown(error, monkeypatch):
    def refuse():
        raise error("not permitted")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "temperature", refuse)
    assert read_gpu("temperature") == 0.0
    monkeypatch.setattr(torch.cuda, "temperature", lambda: 41)
    assert read_gpu("temperature") == 41.0


def test_another_error_while_a_card_is_queried_is_raised(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "clock_rate", lambda: {}["rate"])
    with pytest.raises(KeyError):
        read_gpu("clock_rate")


def test_the_machine_has_memory_and_a_load():
    conditions = current_conditions()
    assert conditions.memory_available_bytes > 2**20
    assert conditions.load >= 0


def test_this_processes_own_time_is_left_out(monkeypatch):
    counts = iter([(0.0, 100.0, 2.0), (10.0, 115.0, 7.0)])
    monkeypatch.setattr(Usage, "_now", lambda _self: next(counts))
    assert Usage().elsewhere() == 1.0


def test_another_process_is_seen_unless_it_belongs_to_what_is_measured():
    burner = subprocess.Popen([sys.executable, "-c", BURN])
    try:
        usage, together = Usage(), Usage([burner.pid])
        time.sleep(1)
        elsewhere = usage.elsewhere()
        assert elsewhere > 0.3
        assert elsewhere - together.elsewhere() > 0.3
    finally:
        burner.kill()
        burner.wait()
