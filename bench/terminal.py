"""How the command meets its terminal or pipe: the signals that end it, and what it can print."""

import signal
import sys
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def set_up() -> None:
    """Have every ending signal end the command as Ctrl-C does, and print to every encoding.

    A shell starts jobs in the background with Ctrl-C ignored; ``kill -INT`` must end them too. What
    ``nohup`` has ignored stays so: the terminal may be closed.
    """
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # A second one must not interrupt the clearing away, which takes seconds at most.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
