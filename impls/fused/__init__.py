"""Implementations with backward passes of their own, to save memory and passes over data."""
