"""The command on a machine without a GPU."""

import pytest
import torch

from lossbench.bench.cli import main
from lossbench.bench.show.predictions import predictions_table


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_a_line(refused):
    line = refused("first-light")
    assert "first-light needs a GPU: torch" in line
    assert line.endswith("finds no CUDA device here; --dry-run lists its steps")


def test_its_steps_and_the_predicted_limits_are_listed_anywhere(capsys):
    assert main(["first-light", "--dry-run", "--minutes", "4"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "tests 57 s the tests that need a GPU python -m pytest" in out
    assert "arcface 1024x512, C=100000, bfloat16, cuda, gaussian" in out


def test_the_limit_of_a_size_follows_from_the_chip():
    table = predictions_table("cuda")
    rows = dict(zip(*(column.cells for column in table.columns[:2]), strict=True))
    assert rows["arcface 1024x512, C=100000, bfloat16, cuda, gaussian"] == "318 µs arithmetic"
    assert rows["center 65536x128, C=10000, cuda, gaussian"].endswith("bytes")
