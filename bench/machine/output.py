"""A worker's printed output: copied to the standard error, up to a limit."""

import os
import sys
import threading
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection

from lossbench.bench.printable import printable

PASSED_ON_BYTES = 2**16
KEPT_CHUNKS = 2
CHUNK_BYTES = 2**12
CUT = f"a worker printed more than {PASSED_ON_BYTES // 1024} KiB; the rest is dropped"


class WorkerOutput:
    """Reads a worker's standard output and standard error until both are closed.

    The standard output of the command is for its own result, so all output of a worker goes to the
    standard error.
    """

    def __init__(self, reader: Connection) -> None:
        """Start to read from one end of a pipe."""
        self._reader = reader
        self._last: deque[bytes] = deque(maxlen=KEPT_CHUNKS)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def last(self, wait_seconds: float) -> str:
        """Return the end of the output, after all of it was read or the wait is over."""
        self._thread.join(wait_seconds)
        return b"".join(self._last).decode(errors="backslashreplace")

    def _read(self) -> None:
        room = PASSED_ON_BYTES
        with self._reader as reader:
            while chunk := os.read(reader.fileno(), CHUNK_BYTES):
                self._last.append(chunk)
                if room > 0:
                    _pass_on(chunk[:room])
                    room -= len(chunk)
                    if room <= 0:
                        _pass_on(f"\n{CUT}\n".encode())


def _pass_on(chunk: bytes) -> None:
    lines = chunk.decode(errors="backslashreplace").split("\n")
    # The terminal or the stream may be closed already.
    with suppress(OSError, ValueError):
        sys.stderr.write("\n".join(printable(line, CHUNK_BYTES) for line in lines))
        sys.stderr.flush()
