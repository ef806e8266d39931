"""Departures that Losses of several families share."""

INT_LABELS = "the document's cross-entropy raises on int32 labels; here any integer dtype works"
IN_PLACE_PRODUCT = (
    "repaired: addmm_(1, -2, a, b) is written with today's names beta and alpha; same values"
)
ROUNDED_SQUARES = (
    "the expanded square loses digits: in float32 equal rows can have a distance of up to 0.018; "
    "compiled code adds up in another order, and sets distances within its rounding to 0"
)
