"""Measure losses that several processes, the ranks, compute together, and predict more of them."""
