"""What the columns of a report mean, in the words of the README, and how a verdict is shown."""

# The README's table has these words; a test holds the two together.
COLUMNS = {
    "step, forward": "median seconds of one call; a step is forward and backward to every input "
    "and parameter",
    "speed-up": "the reference's time over the variant's, median of pairs from the same round, "
    "with its 95% interval",
    "samples/s": "batch over step",
    "peak": "the most bytes at once above inputs and parameters in a step, gradients included",
    "saved": "bytes that are kept from forward to backward",
    "ops": "operators that a step dispatches",
    "of limit": "the least time that this machine could take over the step's, and what bounds "
    "that: `arithmetic` at the rate of a matrix product, `bytes` at the bandwidth of a copy, or "
    "the `overhead` of a call",
    "error": "the largest relative error against the reference in float64, over loss, outputs, "
    "gradients and state",
    "verdict": "`faster`, `slower`, `same` (the interval lies within 2% of 1), `unclear`; or why "
    "there are no times",
}

# A symbol beside the word and the colour, so that no one needs to tell colours apart.
SYMBOLS = {"faster": "▲", "slower": "▼", "same": "=", "unclear": "?", "reference": "◆"}
VERDICTS = {
    "faster": "the whole interval lies above 1",
    "slower": "the whole interval lies below 1",
    "same": "the whole interval lies within 2% of 1",
    "unclear": "the interval holds 1 and more: measure longer, or in more processes",
    "reference": "what the others are held against",
}
GRADES = {
    "same": ("=", "as the reference"),
    "better": ("▲", "finite where the reference is not, or far nearer to the truth"),
    "worse": ("▼", "not finite where the reference is, or further off than an ordinary error"),
}
