"""Times: the clock, interleaved samples, and the intervals that they give."""
