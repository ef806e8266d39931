"""The machine: its description, its state while measuring, and the worker processes."""
