"""What the package itself costs who uses it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.suites.cell import skip

PROCESSES = 3
IMPORT = """
import time, torch
start = time.perf_counter()
import impls
print(time.perf_counter() - start)
"""


def track_import_seconds() -> dict[str, Any]:
    """Return how long ``import impls`` takes, beyond the import of torch, in fresh processes."""
    found = importlib.util.find_spec("impls")
    if found is None or found.origin is None:
        skip("this commit has no impls")
    return {
        "samples": [_seconds(Path(found.origin).parent.parent) for _ in range(PROCESSES)],
        "number": 1,
    }


def _seconds(folder: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        skip(f"this commit's impls cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


track_import_seconds.__dict__.update(unit="seconds", version="1")
