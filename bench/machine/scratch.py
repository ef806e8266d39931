"""Temporary folders of a run, and the removal of folders that a killed run has left behind."""

import shutil
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "lossbench-"
LOCK = ".alive"
# A younger folder may have a lock file that its process has not locked yet.
YOUNG_SECONDS = 60.0


class ScratchFolder:
    """A temporary folder, locked for as long as its process lives.

    Attributes:
        path: the path of the folder.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)
        self._lock = FileLock(self.path / LOCK, thread_local=False)
        self._lock.acquire()

    def remove(self) -> None:
        """Remove the folder and its contents."""
        self._lock.release()
        self._folder.cleanup()


def sweep_scratch_folders() -> None:
    """Remove the folders of processes that were killed before they could remove them."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        try:
            if time.time() - lock.stat().st_mtime > YOUNG_SECONDS:
                with FileLock(lock, timeout=0):
                    shutil.rmtree(lock.parent, ignore_errors=True)
        except (OSError, Timeout):
            # Another process uses the folder or has just removed it, or another user owns it.
            continue
