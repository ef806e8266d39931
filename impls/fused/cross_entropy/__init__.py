"""Shared parts of the fused classification losses: cross-entropy by tiles of classes."""
