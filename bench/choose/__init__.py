"""The choice: one implementation of a loss for a reader's size and constraints, with its evidence.

It is made from the records of one machine. Variants are compared by their paired speed-ups; a size
between measured ones is interpolated in log space, and one outside of them is not extrapolated.
"""
