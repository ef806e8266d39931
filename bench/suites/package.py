"""Measure the import time of the package."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lossbench.bench.suites.cell import skip

PROCESSES = 3
IMPORT = """
import time, torch
start = time.perf_counter()
import lossbench.impls
print(time.perf_counter() - start)
"""


def track_import_seconds() -> dict[str, Any]:
    """Return the time to import the implementations after torch, in fresh processes."""
    found = importlib.util.find_spec("lossbench.impls")
    if found is None or found.origin is None:
        skip("this commit has no lossbench.impls")
    folder = Path(found.origin).parents[1]
    if not (folder / "__init__.py").is_file():
        skip("this commit has no package lossbench")
    return {"samples": [_seconds(folder.parent) for _ in range(PROCESSES)], "number": 1}


def _seconds(folder: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1]
        skip(f"this commit's implementations cannot be imported: {reason}")
    return float(done.stdout)


track_import_seconds.__dict__.update(unit="seconds", version="1")
