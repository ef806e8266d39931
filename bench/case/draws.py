"""The kinds of batches that an implementation is compared on.

Training gives batches that are irregular in many ways. An implementation can be right for regular
ones only, so every draw is shuffled and has unequal class counts, and each draw adds what no other
has.
"""

from dataclasses import dataclass

# Three or four rows fewer are still most of such a batch.
SMALLEST_SHORTENED = 8


@dataclass(frozen=True)
class Draw:
    """One kind of batch; the defaults are those of the batch that is timed.

    Attributes:
        name: name in messages.
        reason: fault that this kind of batch shows.
        other_data: whether the data are of another kind than the Case's.
        close: whether the two samples of a pair are close together, so that every hinge is active.
        scaled: whether the upstream gradient of a loss is a random factor instead of 1.
        follows: whether the state is the one that the draw before it left.
        rare: whether a third of the classes are absent, and one of the others has a single sample.
        odd: whether the number of rows is odd, and so no multiple of 2, 4 or 8.
        strided: whether the inputs are views with gaps between their rows and their columns.
    """

    name: str
    reason: str
    other_data: bool = False
    close: bool = False
    scaled: bool = True
    follows: bool = False
    rare: bool = False
    odd: bool = False
    strided: bool = False

    def rows(self, batch: int) -> int:
        """Return the number of rows for a Case's batch; small batches keep their own."""
        if not self.odd or batch < SMALLEST_SHORTENED:
            return batch
        return batch - 3 - (batch % 2)


DRAWS: tuple[Draw, ...] = (
    Draw(
        "timed",
        "the batch that is timed: shuffled, with unequal counts, and with the first and last class",
        scaled=False,
    ),
    Draw(
        "second step",
        "a state that is moved only once, or results that are kept from the first step",
        close=True,
        follows=True,
    ),
    Draw(
        "other data",
        "an error that only one kind of data causes",
        other_data=True,
    ),
    Draw(
        "odd batch",
        "a fixed number of rows or counts, a forgotten remainder, absent classes, singletons",
        close=True,
        rare=True,
        odd=True,
    ),
    Draw(
        "strided",
        "inputs that are read as if they were contiguous",
        strided=True,
    ),
)
"""The draws of a Case, in order. A Record has the number of a draw, so a new draw comes last."""


def draw_of(number: int) -> Draw:
    """Return the kind of a numbered draw; the kinds repeat after the last one."""
    return DRAWS[number % len(DRAWS)]
