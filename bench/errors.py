"""The errors that a user can mend, told in one line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class UsageError(ValueError):
    """What was asked cannot be done; the message says what was expected, and the choices."""


def unknown_name(kind: str, name: str, known: Sequence[str], of: str = "") -> str:
    """Return what to say of a name that does not exist: the nearest one, and all that do.

    Args:
        kind: what the name should stand for, as in ``loss``.
        name: the name that was given.
        known: the names that exist.
        of: the owner of those names, as in ``arcface``; empty where they have none.
    """
    nearest = get_close_matches(name, known, n=1)
    suggestion = f"did you mean {nearest[0]!r}? " if nearest else ""
    whole = f"{name!r} of {of}" if of else f"{name!r}"
    return f"no {kind} {whole}; {suggestion}there are: {', '.join(known) or 'none'}"


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
