"""What the fused classification losses share: cross-entropy over classes by tiles."""
