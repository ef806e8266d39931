"""Scaling: how time and memory grow with the sizes, and the largest batch that fits."""
