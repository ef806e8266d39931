"""The description of one figure of a Record; ``bench/metrics.py`` has one for each figure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

Row = Mapping[str, Any]
"""Figures by name, and the fields of their Case, variant and status."""

Unit = Literal["seconds", "1/s", "bytes", "count", "ratio", "share", "relative error", "word"]
DTYPES: Mapping[Unit, str] = {"bytes": "Int64", "count": "Int64", "word": "string"}
"""The frame's dtypes; float64 for every other unit."""

Compared = Literal["speedup", "bytes", "error"]
"""How two runs are compared by a figure.

``speedup``: slower or faster, if the 95% intervals do not overlap; ``bytes``: bigger, if there are
more; ``error``: less exact, if the error grew by more than rounding explains.
"""

Gated = Literal["bytes", "waits", "note"]
"""What the gate does if a figure differs between base and head.

``bytes``: it fails if there are more, beyond a margin; ``waits``: it fails if there is one more,
as with waits for the device;
``note``: it prints the difference, and does not fail.
"""


@dataclass(frozen=True)
class Tracked:
    """The settings of a figure in asv.

    Attributes:
        rounds: number of processes that measure the figure; more than 1 if it differs between
            processes.
        samples: function that gives asv all samples of a Record, instead of the one number.
        inverse: name under which asv stores 1 over the figure if more is better, because asv
            reports every rise as a regression.
        compiled: whether only compiled variants have the figure.
    """

    rounds: int = 1
    samples: Callable[[Any], Any] | None = None
    inverse: str = ""
    compiled: bool = False


@dataclass(frozen=True)
class Metric:
    """One figure of a Record.

    Attributes:
        name: name of the figure everywhere, with its unit as the suffix.
        unit: unit of the figure, which determines its dtype and its text.
        meaning: explanation in the legend, the README and the docs.
        read: function that reads the figure from a Record, or from another object with the same
            fields; it returns ``None`` if they are missing.
        derive: function that computes the figure from others of its row, instead of ``read``.
        heading: heading of the column in tables; empty if tables leave the figure out.
        text: function that formats the cell of a table, if the unit alone does not determine it.
        asv: settings of the figure in asv; ``None`` if asv does not store it.
        compared: rule by which two runs are compared; ``None`` to compare nothing.
        gated: action of the gate on a difference; ``None`` to ignore it.
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
        """Refuse a figure that has neither ``read`` nor ``derive``, or both."""
        if (self.read is None) == (self.derive is None):
            raise ValueError(f"{self.name}: expected either read or derive")

    @property
    def dtype(self) -> str:
        """The dtype of the figure's column in the frame."""
        return DTYPES.get(self.unit, "float64")

    @property
    def label(self) -> str:
        """The heading, or the name if there is none."""
        return self.heading or self.name

    @property
    def asv_name(self) -> str:
        """The name of asv's benchmark, after ``track_``."""
        return (self.asv and self.asv.inverse) or self.name

    def of(self, found: Any) -> Any:
        """Return the figure of a Record, or of another object with the same fields.

        Raises:
            ValueError: if it is computed from other figures.
        """
        if self.read is None:
            raise ValueError(f"{self.name} is computed from other figures of its row")
        return self.read(found)

    def cell(self, row: Row) -> str:
        """Return the cell of a table for a row; empty if the row lacks the figure."""
        return self.text(row) if self.text else self.words(row.get(self.name))

    def words(self, value: Any) -> str:
        """Return a value of the figure as text; empty if it is ``None``."""
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
    """Return the function that reads a path such as ``step.speedup.low``; it stops at ``None``."""
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

    It returns ``None`` if one is missing or is not a number, or if the divisor is 0.
    """

    def derive(row: Row) -> float | None:
        over, under = row.get(above), row.get(below)
        numbers = isinstance(over, int | float) and isinstance(under, int | float)
        return over / under if numbers and under else None

    return derive
