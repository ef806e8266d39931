"""Append the Records of a run to its file: each is on the disk before the next is measured."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lossbench.bench.errors import UsageError, writing
from lossbench.bench.run.records import RECORDS, Record, RecordLine


class RecordFile:
    """An open record file that appends whole lines."""

    def __init__(self, folder: Path) -> None:
        """Open or create the file, and cut off a half-written last line."""
        self.path = folder / RECORDS
        self._file = self.path.open("ab", buffering=0)
        text = self.path.read_bytes()
        self._file.truncate(text.rfind(b"\n") + 1)

    def append(self, record: Record) -> None:
        """Append a Record and wait until it is on the disk.

        Raises:
            UsageError: if the disk is full or cannot be written; the Records before stay complete.
        """
        line = RecordLine(record).model_dump_json().encode() + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            # An unbuffered file may write only a part of the line at once.
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise UsageError(
                f"{self.path}: {error.strerror}; the records before this one are complete. "
                "Make room and resume"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def record_file(folder: Path) -> Iterator[RecordFile]:
    """Open a run's record file, and lock it for this process.

    Raises:
        UsageError: if another process writes to it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    with writing(folder):
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(f"{folder}: another run writes there; choose another --out") from None
        file = RecordFile(folder)
    try:
        yield file
    finally:
        file.close()
        lock.release()
