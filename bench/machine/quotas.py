"""The limits that a container or the system sets to this process: processors and memory."""

import os

import psutil


def allowed_processors() -> tuple[int, ...]:
    """Return the processors that this process may use, by number; all where nothing tells."""
    process = psutil.Process()
    # macOS has no such call.
    if not hasattr(process, "cpu_affinity"):
        return tuple(range(os.cpu_count() or 1))
    return tuple(process.cpu_affinity() or ())
