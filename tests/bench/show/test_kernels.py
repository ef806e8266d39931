"""What the command says that the compiler makes of the kernels, and its table in the docs."""

import csv
import json

import pytest

from lossbench.bench.cli import main
from lossbench.bench.paths import ROOT

triton = pytest.importorskip("triton", reason="needs the package triton")
pytestmark = pytest.mark.triton

SHIPPED = ROOT / "docs" / "kernels.csv"
# Few and small kernels, of this loss alone.
LOSS, KERNELS = "contrastive", {"measure_pairs", "average"}


def test_a_row_tells_the_largest_figures_over_the_kinds_of_sizes(capsys):
    assert main(["kernels", LOSS, "--dtype", "float32", "--chip", "80", "--json"]) == 0
    rows = {row["kernel"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() >= KERNELS
    for row in rows.values():
        assert (row["chip"], row["dtype"]) == ("sm_80", "float32")
        assert 0 < row["registers"] <= 255
        assert row["stack_bytes"] == 0
        assert LOSS in row["losses"].split()


@pytest.mark.skipif(
    not triton.__version__.startswith("3.9."), reason="another Triton compiles otherwise"
)
def test_the_table_of_the_docs_is_what_the_compiler_makes(capsys):
    assert main(["kernels", LOSS, "--csv"]) == 0
    compiled = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    with SHIPPED.open(newline="") as file:
        shipped = [row for row in csv.DictReader(file) if row["kernel"] in KERNELS]
    assert shipped == [row for row in compiled if row["kernel"] in KERNELS]
    assert len(shipped) == 2 * len(KERNELS)


def test_no_kernel_in_the_table_of_the_docs_spills():
    with SHIPPED.open(newline="") as file:
        assert [row for row in csv.DictReader(file) if row["stack_bytes"] != "0"] == []


def test_an_unknown_loss_is_one_line(capsys):
    assert main(["kernels", "arcfac"]) == 2
    assert "arcface" in capsys.readouterr().err
