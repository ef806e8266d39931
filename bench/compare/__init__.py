"""Compare two measurements of the same cells."""
