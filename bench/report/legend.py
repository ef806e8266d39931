"""What the columns of a report mean, and how a verdict is shown."""

from lossbench.bench.metrics import SHOWN
from lossbench.bench.timing.samples import SAME_MARGIN
from lossbench.impls.registry import REFERENCE

COLUMNS = {metric.heading: metric.meaning for metric in SHOWN}

# A symbol beside the word and the colour, so that no one needs to tell colours apart.
SYMBOLS = {"faster": "▲", "slower": "▼", "same": "=", "unclear": "?", REFERENCE: "◆"}
VERDICTS = {
    "faster": "the whole interval lies above 1",
    "slower": "the whole interval lies below 1",
    "same": f"the whole interval lies within {SAME_MARGIN:.0%} of 1",
    "unclear": "the interval holds 1 and more: measure longer, or in more processes",
    REFERENCE: "what the others are held against",
}
GRADES = {
    "same": ("=", "as the reference"),
    "better": ("▲", "finite where the reference is not, or far nearer to the truth"),
    "worse": ("▼", "not finite where the reference is, or further off than an ordinary error"),
}
