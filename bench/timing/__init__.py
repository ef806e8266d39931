"""Measure times: the clock, interleaved samples, and confidence intervals."""
