"""Profiles of steps: traces, the operators in them, what they hold in memory, flame graphs."""
