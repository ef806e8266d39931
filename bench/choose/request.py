"""What is asked of a choice: a Case, and what the reader can afford."""

from dataclasses import dataclass

import impls
from bench.cases import Case
from bench.errors import UsageError


@dataclass(frozen=True)
class Request:
    """A Case, and the reader's constraints.

    Attributes:
        case: the loss at one size on one device.
        max_memory: the most bytes that a step may hold above inputs and parameters.
        max_error: the largest relative error against the reference in float64.
        steps: how many are to be taken, over which compiling counts; ``None`` where only a step's
            time does.
        needs: outputs that the variant must compute, ``logits``.
        third_party: whether packages beside torch may be used.
        sparse: whether the optimizer takes sparse gradients.

    Raises:
        UsageError: where an output is needed that the Loss does not have.
    """

    case: Case
    max_memory: int | None = None
    max_error: float | None = None
    steps: int | None = None
    needs: tuple[str, ...] = ()
    third_party: bool = True
    sparse: bool = False

    def __post_init__(self) -> None:
        """Refuse an output that there is not."""
        known = outputs_of(self.case.loss)
        for name in self.needs:
            if name not in known:
                raise UsageError(
                    f"{self.case.loss} has no output {name!r}; it has: {', '.join(known)}"
                )


def outputs_of(loss: str) -> tuple[str, ...]:
    """Return the names of a Loss's outputs, the value first."""
    names: tuple[str, ...] = getattr(impls.loss(loss).output, "_fields", ())
    return names
