"""Departures and limits that Losses of several families share."""

from collections.abc import Mapping


def moving_limits(when: str = "") -> Mapping[str, str]:
    """Return the limits of a reference with centres that move, by the situation of training.

    Args:
        when: condition under which the centres move, ``"with a center_rate"``; empty if always.
    """
    refused = f"refused {when}".rstrip()
    alone = f"{refused}: it moves the centres only by the samples of its own process"
    late = f"{refused}: the gradient would see the moved centres"
    return {"ddp": alone, "fsdp": alone, "compile": late, "export": late}


INT_LABELS = "the document's cross-entropy raises on int32 labels; here any integer dtype works"
IN_PLACE_PRODUCT = (
    "repaired: addmm_(1, -2, a, b) is written with today's names beta and alpha; same values"
)
ROUNDED_SQUARES = (
    "the expanded square loses digits: in float32 equal rows can have a distance of up to 0.018; "
    "compiled code adds up in another order, and sets distances within its rounding to 0"
)
