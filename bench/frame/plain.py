"""Rows of the frame as plain Python, for JSON and for texts."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def plain(value: Any) -> Any:
    """Return a value of the frame as JSON has it: missing is ``None``, infinite is a string."""
    import pandas as pd

    if pd.isna(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        # JSON has no number for it.
        return str(value)
    to_python: Callable[[], Any] = getattr(value, "item", lambda: value)
    return value.isoformat() if isinstance(value, pd.Timestamp) else to_python()


def plain_rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the rows of a frame as JSON has them."""
    rows = frame.to_dict("records")
    return [{str(name): plain(value) for name, value in row.items()} for row in rows]
