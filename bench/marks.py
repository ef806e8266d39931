"""The marks of figures that need a warning: a sign beside the figure, explained below it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lossbench.bench.timing.samples import FEWEST_PROCESSES


@dataclass(frozen=True)
class Mark:
    """A warning about a figure.

    Attributes:
        sign: sign that stands behind the figure, or behind the name of its variant.
        meaning: warning in words.
        column: column of the frame that tells whether the mark applies.
        holds: test of the column's value; a missing value is ``None`` or pandas's own.
    """

    sign: str
    meaning: str
    column: str
    holds: Callable[[Any], bool]

    def __str__(self) -> str:
        """Return the sign and its meaning, in one line."""
        return f"{self.sign} {self.meaning}"

    def applies(self, row: Mapping[Any, Any]) -> bool:
        """Return whether it applies to a row of the frame, or the columns of a Record."""
        value = row.get(self.column)
        # A frame holds NumPy's numbers, which are no instances of Python's types.
        return self.holds(getattr(value, "item", lambda: value)())


DIRTY = Mark(
    "*",
    "measured with uncommitted changes, so its commit does not reproduce it",
    "dirty",
    lambda dirty: dirty is True,
)
UNCHECKED = Mark(
    "‡",
    "timed without the checks of inputs that a module makes by default, and in older records on "
    "the same inputs at each call",
    "validated",
    lambda validated: validated is False,
)
SHARED_COMPILE = Mark(
    "~",
    "compile time measured in a process that had compiled before, without the start of the "
    "compiler: it may be several times too short",
    "compile_process",
    lambda process: isinstance(process, str) and process == "shared",
)
FEW_PROCESSES = Mark(
    "†",
    f"sampled in fewer than {FEWEST_PROCESSES} processes, so the interval leaves out how processes "
    "differ",
    "processes",
    lambda processes: isinstance(processes, int) and processes < FEWEST_PROCESSES,
)
OF_THE_VARIANT = (DIRTY, UNCHECKED)
"""The marks that stand behind the name of a variant, or all of its figures."""

MARKS = (DIRTY, UNCHECKED, SHARED_COMPILE, FEW_PROCESSES)


def signs(row: Mapping[Any, Any], marks: Iterable[Mark] = MARKS) -> str:
    """Return the signs of the marks that apply to a row; empty if none does."""
    return "".join(mark.sign for mark in marks if mark.applies(row))


def marks_of(rows: Iterable[Mapping[Any, Any]]) -> list[Mark]:
    """Return the marks that apply to at least one of the rows, to explain them."""
    rows = list(rows)
    return [mark for mark in MARKS if any(mark.applies(row) for row in rows)]
