"""The errors that a user can mend, told in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UsageError(ValueError):
    """What was asked cannot be done; the message says what was expected, and the choices."""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Tell in a line that a place cannot be written to.

    Raises:
        UsageError: in place of the system's own error.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}; expected a folder to write to") from error
