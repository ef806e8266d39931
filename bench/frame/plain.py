"""Convert rows of the frame to plain Python values, for JSON and for texts."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def plain(value: Any) -> Any:
    """Return a value of the frame for JSON: ``None`` if missing, a string if infinite."""
    import pandas as pd

    if pd.isna(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        # JSON has no infinite number.
        return str(value)
    to_python: Callable[[], Any] = getattr(value, "item", lambda: value)
    return value.isoformat() if isinstance(value, pd.Timestamp) else to_python()


def plain_rows(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the rows of a frame for JSON."""
    rows = frame.to_dict("records")
    return [{str(name): plain(value) for name, value in row.items()} for row in rows]
