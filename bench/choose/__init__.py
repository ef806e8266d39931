"""Choose one implementation of a loss for a user's size and constraints, with the evidence.

The choice rests on records of one machine, the best of each cell. At a measured size variants are
compared by their paired speed-ups. At another size a curve of each variant, fitted to its records,
estimates its time and memory, with the error that leaving a record out has shown.
"""
