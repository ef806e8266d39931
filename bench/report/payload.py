"""The data of a report's page as JSON: answers, and the points of its interactive plots."""

import json
import math
from collections.abc import Sequence
from typing import Any

from lossbench import impls
from lossbench.bench.frame.runs import record_row
from lossbench.bench.mathml import mathml
from lossbench.bench.report.answers import Setting, answer_texts
from lossbench.bench.report.style import INK, look
from lossbench.bench.run.order import variant_order
from lossbench.bench.run.records import Record

MOST_POINTS = 12_000
"""The most points of a page, over all settings; each takes some 80 bytes."""
POINT = (
    "batch", "dim", "classes", "step_seconds", "step_speedup", "step_speedup_low",
    "step_speedup_high", "step_peak_bytes", "error", "compile_seconds", "limit_seconds",
)  # fmt: skip
DIGITS = 4


def payload(settings: Sequence[Setting], losses: Sequence[str]) -> str:
    """Return the data of a page as JSON that may stand in a ``script`` element.

    Args:
        settings: answers and their merged records.
        losses: names of all losses of the page.
    """
    variants = list(
        dict.fromkeys(record.variant for each in settings for record in each.pool.records)
    )
    most = MOST_POINTS // max(1, len(settings))
    data = {
        "columns": ["variant", *POINT],
        "variants": {
            name: _look(name, variants) for name in variant_order(variants) if name in variants
        },
        "losses": {name: _definition(name) for name in losses},
        "settings": [_setting(each, most) for each in settings],
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Within a script element the text of a record must not end the element.
    return text.replace("<", "\\u003c")


def _setting(setting: Setting, most: int) -> dict[str, Any]:
    case = setting.case
    timed = [record for record in setting.pool.records if record.step is not None]
    return {
        "loss": case.loss,
        "device": case.device,
        "dtype": case.precision,
        "data": case.data,
        "machine": str(setting.pool),
        "untold": setting.untold,
        "answers": [answer_texts(each) for each in setting.answers],
        "points": [_point(record) for record in timed[:most]],
    }


def _point(record: Record) -> list[Any]:
    row = record_row(record)
    return [record.variant, *(_short(row.get(name)) for name in POINT)]


def _short(value: Any) -> Any:
    """Return a number with a few digits; ``None`` if it is missing or infinite."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def _look(variant: str, known: list[str]) -> dict[str, Any]:
    """Return the colour and the line of a variant; the colour is empty for that of the text."""
    style = look(variant, known)
    dash = {"-": [], "--": [7, 4], ":": [2, 3]}[style["linestyle"]]
    return {"colour": style["color"] if style["color"] != INK else "", "dash": dash}


def _definition(loss: str) -> dict[str, str]:
    entry = next((each for each in impls.losses() if each.name == loss), None)
    return {"summary": entry.summary, "formula": mathml(entry.formula)} if entry else {}
