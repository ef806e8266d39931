from dataclasses import replace

import torch

from lossbench.bench.machine.conditions import Conditions
from lossbench.bench.machine.environment import current_environment


def test_the_environment_tells_what_it_was_made_with():
    environment = current_environment(machine="mine", threads=3)
    assert (environment.machine, environment.threads) == ("mine", 3)
    assert environment.torch == torch.__version__
    assert environment.cores >= 1
    assert environment.memory_bytes > 2**30
    assert environment.cpu
    assert environment.packages["numpy"]


def test_the_commit_is_that_of_the_checkout():
    environment = current_environment()
    assert len(environment.commit) in (0, 40)


def test_settings_of_the_allocator_are_kept(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "0")
    monkeypatch.setenv("UNRELATED", "1")
    variables = current_environment().variables
    assert variables["MALLOC_MMAP_MAX_"] == "0"
    assert "UNRELATED" not in variables


def test_the_precision_of_products_is_recorded():
    precision = current_environment().precision
    assert precision["the precision of float32 products"] == "highest"
    assert precision["TF32 in products"] == "False"
    torch.set_float32_matmul_precision("high")
    try:
        assert current_environment().precision["TF32 in products"] == "True"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_gpu_that_cannot_be_watched_is_told():
    environment = replace(current_environment(), conditions=Conditions(), gpu="NVIDIA H200")
    assert "the GPU's clock rate cannot be read" in " ".join(environment.warnings)
    watched = replace(environment, conditions=Conditions(gpu_megahertz=1980.0))
    assert "clock rate" not in " ".join(watched.warnings)


def test_the_processors_are_those_it_was_given():
    environment = current_environment(affinity=(0,))
    assert (environment.affinity, environment.cores) == ((0,), 1)
