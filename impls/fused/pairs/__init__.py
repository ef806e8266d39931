"""What the fused losses of pairs and triplets share: distances, mining and weighting by blocks."""
