"""Shared parts of the fused pair and triplet losses: distances, mining, weighting by blocks."""
