"""Texts that repeat a constant have its current value."""

import re

from lossbench.bench.paths import ROOT
from lossbench.impls.estimate import SAME_MARGIN

WITHIN = re.compile(r"within\s+(\d+%)\s+of\s+(?:1|it)\b")


def texts():
    """Yield every source and every page that may name the margin of ``same``."""
    yield ROOT / "README.md"
    yield from (ROOT / "docs").glob("*.md")
    yield from (ROOT / "docs").glob("*.j2")
    yield from (ROOT / "bench").rglob("*.py")


def test_every_text_tells_the_same_margin_of_same():
    told = {path: WITHIN.findall(path.read_text()) for path in texts()}
    told = {path.relative_to(ROOT).as_posix(): found for path, found in told.items() if found}
    assert {"README.md", "docs/measuring.md", "bench/metrics.py"} <= set(told)
    assert {margin for found in told.values() for margin in found} == {f"{SAME_MARGIN:.0%}"}
