"""Situations of a training loop, and a matrix of what each implementation does in them."""
