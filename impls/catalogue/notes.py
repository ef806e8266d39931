"""What departs in the Losses of more than one family."""

INT_LABELS = "the document's cross-entropy raises on int32 labels; here any integer dtype is taken"
IN_PLACE_PRODUCT = (
    "repaired: addmm_(1, -2, a, b) is written with today's beta and alpha; same values"
)
ROUNDED_SQUARES = (
    "the expanded square cancels: between equal rows rounding leaves up to 0.018 in float32; "
    "compiled code, which adds up in another order, takes what is within its rounding for 0"
)
