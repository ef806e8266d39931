"""Run a command with a limit of time, and stop it so that it can tidy up."""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lossbench.bench.paths import ROOT

GRACE_SECONDS = 10.0
"""The time that a stopped command has to write what it has, before it is killed."""


def run_limited(command: Sequence[str], log: Path, seconds: float) -> int | None:
    """Run a command in the checkout, with its output in a file.

    It gets a process group of its own, so that it ends with all that it has started, and that
    Ctrl-C reaches this process alone. Ctrl-C here stops the command too.

    Args:
        command: program and its arguments.
        log: file for its output, which is written anew.
        seconds: time after which it is stopped.

    Returns:
        Its exit code; ``None`` if it was stopped.
    """
    with log.open("wb") as out:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            process_group=0,
        )
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Interrupt a command that still runs, then kill what is left of its group."""
    if child.poll() is None:
        _signal_group(child.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
