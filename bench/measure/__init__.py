"""What is measured of an implementation before its times: agreement, memory, counts, limits."""
