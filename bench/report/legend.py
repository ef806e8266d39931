"""The legend of a report: the meaning of its columns, verdicts and grades."""

from lossbench.bench.compat.proof import Standing
from lossbench.bench.metrics import SHOWN
from lossbench.bench.show.compat import STANDING_MEANINGS
from lossbench.bench.show.training import FITNESS_MEANINGS
from lossbench.bench.training_loop.situation import Fitness
from lossbench.impls.estimate import SAME_MARGIN
from lossbench.impls.registry import REFERENCE

COLUMNS = {metric.heading: metric.meaning for metric in SHOWN}

# Each verdict has a symbol too, because some readers cannot distinguish the colours.
SYMBOLS = {"faster": "▲", "slower": "▼", "same": "=", "unclear": "?", REFERENCE: "◆"}
VERDICTS = {
    "faster": "the whole interval lies above 1",
    "slower": "the whole interval lies below 1",
    "same": f"the whole interval lies within {SAME_MARGIN:.0%} of 1",
    "unclear": "the interval contains 1, but is too wide for `same`: measure longer",
    REFERENCE: "the implementation that others are compared with",
}
GRADES = {
    "same": ("=", "same as the reference"),
    "better": ("▲", "finite where the reference is not, or with a much smaller error"),
    "worse": ("▼", "not finite where the reference is, or with an error beyond rounding"),
}
_STANDING_SYMBOLS: dict[Standing, str] = {
    "right": "✓", "wrong": "▼", "unsupported": "○", "departs": "-"
}  # fmt: skip
STANDINGS = {name: (mark, STANDING_MEANINGS[name]) for name, mark in _STANDING_SYMBOLS.items()}
_FITNESS_SYMBOLS: dict[Fitness, str] = {"right": "✓", "limit": "○", "worse": "▼", "-": ""}
FITNESSES = {
    fitness: (symbol, FITNESS_MEANINGS[fitness]) for fitness, symbol in _FITNESS_SYMBOLS.items()
}
