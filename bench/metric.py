"""What there is to say of one figure of a Record: ``bench/metrics.py`` says it of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

Row = Mapping[str, Any]
"""Figures by name, beside the Case, the variant and the status that they belong to."""

Unit = Literal["seconds", "1/s", "bytes", "count", "ratio", "share", "relative error", "word"]
DTYPES: Mapping[Unit, str] = {"bytes": "Int64", "count": "Int64", "word": "string"}
"""The frame's dtypes; float64 for every other unit."""

Compared = Literal["speedup", "bytes", "error"]
"""What a comparison of two runs tells of a figure.

``speedup``: slower or faster, where the 95% intervals have no point in common; ``bytes``: bigger
where there are more; ``error``: less exact where it grew by more than rounding explains.
"""

Gated = Literal["bytes", "waits", "note"]
"""What the gate does where a figure differs between base and head.

``bytes``: more fails beyond a margin; ``waits``: one more fails; ``note``: told, never a failure.
"""


@dataclass(frozen=True)
class Tracked:
    """How asv keeps a figure.

    Attributes:
        rounds: number of processes that measure the figure; more than 1 where processes differ.
        samples: function that gives asv all samples of a Record, in place of the one number.
        inverse: name under which asv keeps 1 over the figure, where more is better: asv takes
            every rise for a regression.
        compiled: whether compiled variants alone have the figure.
    """

    rounds: int = 1
    samples: Callable[[Any], Any] | None = None
    inverse: str = ""
    compiled: bool = False


@dataclass(frozen=True)
class Metric:
    """One figure of a Record.

    Attributes:
        name: name of the figure everywhere, its unit as the suffix.
        unit: what the figure counts; the dtype and the text follow from it.
        meaning: explanation in the legend, the README and the docs.
        read: function that reads the figure off a Record, or off another object that has the same
            fields; it returns ``None`` where they are missing.
        derive: function that computes the figure from others of its row, in place of ``read``.
        heading: heading of the column in tables; empty where tables leave the figure out.
        text: function that writes the cell of a table, where the unit alone does not tell how.
        asv: how asv keeps the figure; ``None`` where it does not.
        compared: what a comparison tells of the figure; ``None`` for nothing.
        gated: what the gate does where the figure differs; ``None`` for nothing.
    """

    name: str
    unit: Unit
    meaning: str
    read: Callable[[Any], Any] | None = None
    derive: Callable[[Row], Any] | None = None
    heading: str = ""
    text: Callable[[Row], str] | None = None
    asv: Tracked | None = None
    compared: Compared | None = None
    gated: Gated | None = None

    def __post_init__(self) -> None:
        """Refuse a figure that comes from nowhere, or from two places."""
        if (self.read is None) == (self.derive is None):
            raise ValueError(f"{self.name}: expected either read or derive")

    @property
    def dtype(self) -> str:
        """The dtype of the figure's column in the frame."""
        return DTYPES.get(self.unit, "float64")

    @property
    def label(self) -> str:
        """The heading, or the name where there is none."""
        return self.heading or self.name

    @property
    def asv_name(self) -> str:
        """The name of asv's benchmark, after ``track_``."""
        return (self.asv and self.asv.inverse) or self.name

    def of(self, found: Any) -> Any:
        """Return the figure of a Record, or of another object that has the fields it is read from.

        Raises:
            ValueError: where it is computed from other figures.
        """
        if self.read is None:
            raise ValueError(f"{self.name} is computed from other figures of its row")
        return self.read(found)

    def cell(self, row: Row) -> str:
        """Return the cell of a table for a row; empty where the row lacks the figure."""
        return self.text(row) if self.text else self.words(row.get(self.name))

    def words(self, value: Any) -> str:
        """Return a value of the figure as text; empty where it is ``None``."""
        from lossbench.bench.format import binary, si

        if value is None:
            return ""
        match self.unit:
            case "seconds":
                return si(value, "s")
            case "1/s":
                return si(value, "")
            case "bytes":
                return binary(value)
            case "ratio":
                return f"{value:.3g}x"
            case "share":
                return f"{value:.0%}"
            case "relative error":
                return f"{value:.0e}"
            case _:
                return f"{value}"


def at(path: str) -> Callable[[Any], Any]:
    """Return the function that follows a path such as ``step.speedup.low`` up to a ``None``."""
    steps = [attrgetter(name) for name in path.split(".")]

    def read(found: Any) -> Any:
        for step in steps:
            if found is None:
                return None
            found = step(found)
        return found

    return read


def quotient_of(above: str, below: str) -> Callable[[Row], float | None]:
    """Return the function that divides two figures of a row.

    It returns ``None`` where one is missing or is no number, or where the divisor is 0.
    """

    def derive(row: Row) -> float | None:
        over, under = row.get(above), row.get(below)
        numbers = isinstance(over, int | float) and isinstance(under, int | float)
        return over / under if numbers and under else None

    return derive
