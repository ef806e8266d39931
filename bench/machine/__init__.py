"""The machine: its description, its state during a measurement, and the worker processes."""
