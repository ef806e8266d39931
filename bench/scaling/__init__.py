"""Measure how time and memory grow with the sizes, and find the largest batch that fits."""
