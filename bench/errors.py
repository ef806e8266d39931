"""Errors that the user can correct, with messages of one line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class UsageError(ValueError):
    """A request that cannot be met; the message says what was expected, and the choices."""


def unknown_name(kind: str, name: str, known: Sequence[str], of: str = "") -> str:
    """Return the message for an unknown name: the nearest known name, and all known names.

    Args:
        kind: kind of thing that is named, as in ``loss``.
        name: unknown name.
        known: known names.
        of: owner of the known names, as in ``arcface``; empty if they have none.
    """
    nearest = get_close_matches(name, known, n=1)
    suggestion = f"did you mean {nearest[0]!r}? " if nearest else ""
    whole = f"{name!r} of {of}" if of else f"{name!r}"
    return f"no {kind} {whole}; {suggestion}there are: {', '.join(known) or 'none'}"


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn an error of the system when writing to a place into a message of one line.

    Raises:
        UsageError: if the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}; expected a folder to write to") from error
