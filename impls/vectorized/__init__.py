"""Contenders in plain batched operators: no loop over samples, no one-hot, no synchronisation."""
