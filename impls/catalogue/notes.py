"""What departs in the Losses of more than one family, and what references are not fit for."""

from collections.abc import Mapping


def moving_limits(when: str = "") -> Mapping[str, str]:
    """Return what a reference whose centres move is not fit for.

    Args:
        when: the condition under which they move, ``"with a center_rate"``; empty if always.
    """
    refused = f"refused {when}".rstrip()
    alone = f"{refused}: it moves the centres by the samples of its own process alone"
    late = f"{refused}: the gradient would see the moved centres"
    return {"ddp": alone, "fsdp": alone, "compile": late, "export": late}


INT_LABELS = "the document's cross-entropy raises on int32 labels; here any integer dtype is taken"
IN_PLACE_PRODUCT = (
    "repaired: addmm_(1, -2, a, b) is written with today's beta and alpha; same values"
)
ROUNDED_SQUARES = (
    "the expanded square cancels: between equal rows rounding leaves up to 0.018 in float32; "
    "compiled code, which adds up in another order, takes what is within its rounding for 0"
)
