"""Measure everything about an implementation except times: agreement, memory, counts, limits."""
