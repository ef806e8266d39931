"""First light: one command that tests, checks and measures on a machine with a GPU."""
