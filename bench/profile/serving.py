"""Serve profiles in TensorBoard with the profiler's plugin, on this machine only."""

import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from lossbench.bench.errors import UsageError

SERVED_HOST = "127.0.0.1"
PLUGIN = "pytorch_profiler"
NEEDED = {"tensorboard": "tensorboard", "torch_tb_profiler": "torch-tb-profiler"}


def check_servable(port: int) -> None:
    """Check before the first measurement that TensorBoard can be served.

    Raises:
        UsageError: if a package is missing, or the port cannot be opened.
    """
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise UsageError(
            f"--serve needs {' and '.join(missing)}, which is not installed: "
            "pip install --group profile"
        )
    _check_start()
    with socket.socket() as listener:
        # Servers set this option too; with it, a port that was just closed counts as free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((SERVED_HOST, port))
        except OSError as error:
            raise UsageError(
                f"--port {port} of {SERVED_HOST} cannot be opened: {error.strerror}; choose another"
            ) from None


def _check_start() -> None:
    """Check that TensorBoard starts: with other versions of its packages it stops at once.

    Raises:
        UsageError: if it stops; the message has its last line.
    """
    command = [sys.executable, "-m", "tensorboard.main", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UsageError(f"TensorBoard stops when it starts: {last}")


def serve(folder: Path, port: int) -> NoReturn:
    """Replace this process by TensorBoard, which shows the traces below a folder until Ctrl-C.

    A child process could be left behind; a replaced process cannot.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # A background shell starts it with the signal ignored, and TensorBoard would have no end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    arguments = [
        f"--logdir={folder}",
        f"--host={SERVED_HOST}",
        f"--port={port}",
        # The fast reader of event files starts a server of its own, and the plugin does not use it.
        "--load_fast=false",
    ]
    # TensorBoard and the plugin import deprecated modules and log much, so both are silenced.
    quiet = {"PYTHONWARNINGS": "ignore", "TORCH_PROFILER_LOG_LEVEL": "WARNING"}
    os.execve(
        sys.executable,
        [sys.executable, "-m", "tensorboard.main", *arguments],
        {**os.environ, **quiet},
    )
