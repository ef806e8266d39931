"""Every kernel in Triton's interpreter, on the CPU.

Triton reads ``TRITON_INTERPRET`` when it is imported, so that each family has a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossbench.bench.paths import ROOT

pytest.importorskip("triton", reason="needs the package triton")
pytestmark = pytest.mark.triton

FAMILIES = sorted((Path(__file__).parent / "interpreted").glob("check_*.py"))
SECONDS = 300


@pytest.mark.parametrize("family", FAMILIES, ids=lambda path: path.stem.removeprefix("check_"))
def test_kernels_agree_with_the_oracle_in_the_interpreter(family):
    # numpy warns where a program divides by zero in an element that it then drops.
    warnings = ("-W", "ignore::RuntimeWarning")
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", *warnings)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(family), *options],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
