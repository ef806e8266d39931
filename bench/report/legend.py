"""What the columns of a report mean, and how a verdict is shown."""

from lossbench.bench.metrics import SHOWN
from lossbench.bench.show.training import FITNESS_MEANINGS
from lossbench.bench.timing.samples import SAME_MARGIN
from lossbench.bench.training_loop.situation import Fitness

COLUMNS = {metric.heading: metric.meaning for metric in SHOWN}

# A symbol beside the word and the colour, so that no one needs to tell colours apart.
SYMBOLS = {"faster": "▲", "slower": "▼", "same": "=", "unclear": "?", "reference": "◆"}
VERDICTS = {
    "faster": "the whole interval lies above 1",
    "slower": "the whole interval lies below 1",
    "same": f"the whole interval lies within {SAME_MARGIN:.0%} of 1",
    "unclear": "the interval holds 1 and more: measure longer, or in more processes",
    "reference": "what the others are held against",
}
GRADES = {
    "same": ("=", "as the reference"),
    "better": ("▲", "finite where the reference is not, or far nearer to the truth"),
    "worse": ("▼", "not finite where the reference is, or further off than an ordinary error"),
}
_FITNESS_SYMBOLS: dict[Fitness, str] = {"right": "✓", "limit": "○", "worse": "▼", "-": ""}
FITNESSES = {
    fitness: (symbol, FITNESS_MEANINGS[fitness]) for fitness, symbol in _FITNESS_SYMBOLS.items()
}
