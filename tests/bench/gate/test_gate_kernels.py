"""The kernels of a tree are that tree's own, and are compiled in a process without another's."""

import subprocess
import sys

import pytest

from lossbench.bench.paths import ROOT

pytest.importorskip("triton", reason="needs the package triton")

CODE = """
import sys
from pathlib import Path
from lossbench.bench.case.cases import Case
from lossbench.bench.gate.compare import count_kernels
from lossbench.bench.gate.trees import copy_files

tree = copy_files("head", Path(sys.argv[1]))
found = count_kernels(tree, Case("triplet_batch_hard", 64, 32, 10), "triton")
print([kernel.name for kernel in found if kernel.matrix_instructions])
print("lossbench.impls.triton.kernels.batch_hard" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.triton
def test_a_tree_compiles_its_own_kernels(tmp_path):
    # torch registers the operators of kernels once a process.
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == "['mine']\nFalse\n", done.stderr
