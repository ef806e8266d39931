"""Set up the command for its terminal or pipe: signals that end it, and printing."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import NoReturn

STDOUT, STDERR = 1, 2
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def set_up() -> None:
    """Let each signal of ``ENDING`` act as Ctrl-C does, and print to terminals of any encoding.

    A shell ignores Ctrl-C for jobs in the background, but ``kill -INT`` must end them too. A SIGHUP
    that ``nohup`` ignores stays ignored, so that the command survives its terminal.
    """
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Have what is printed, by child processes and in C too, go to the standard error.

    The standard output of a command is for its own result, which may be JSON.
    """
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    try:
        os.dup2(STDERR, STDOUT)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # A second signal would interrupt the clean-up, which takes a few seconds at most.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
