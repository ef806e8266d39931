"""Choose one implementation of a loss for a user's size and constraints, with the evidence.

The choice rests on records of one machine. Variants are compared by their paired speed-ups. A size
between measured sizes is interpolated in log space; a size outside of them is not extrapolated.
"""
