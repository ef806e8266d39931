"""TensorBoard with the profiler's plugin, for this machine alone."""

import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from lossbench.bench.errors import UsageError

SERVED_HOST = "127.0.0.1"
PLUGIN = "pytorch_profiler"
NEEDED = {"tensorboard": "tensorboard", "torch_tb_profiler": "torch-tb-profiler"}


def check_servable(port: int) -> None:
    """Refuse to serve where that cannot be, so that it is known before anything is measured.

    Raises:
        UsageError: where a package is missing, or the port cannot be had.
    """
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise UsageError(
            f"--serve needs {' and '.join(missing)}, which this environment has not: "
            "pip install --group profile"
        )
    with socket.socket() as listener:
        # As servers do: a port that one has just left is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((SERVED_HOST, port))
        except OSError as error:
            raise UsageError(
                f"--port {port} of {SERVED_HOST} cannot be had: {error.strerror}; choose another"
            ) from None


def serve(folder: Path, port: int) -> NoReturn:
    """Become TensorBoard, which shows the traces below a folder until Ctrl-C.

    In the place of this process, and not below it, so that none is left behind.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    arguments = [
        f"--logdir={folder}",
        f"--host={SERVED_HOST}",
        f"--port={port}",
        # Its fast reader of event files is a server of its own, and the plugin has no use for it.
        "--load_fast=false",
    ]
    # They import what is deprecated, and log what they do.
    quiet = {"PYTHONWARNINGS": "ignore", "TORCH_PROFILER_LOG_LEVEL": "WARNING"}
    os.execve(
        sys.executable,
        [sys.executable, "-m", "tensorboard.main", *arguments],
        {**os.environ, **quiet},
    )
