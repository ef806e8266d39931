"""Losses by kernels of our own in Triton, for CUDA."""
