"""A run on the workers of an engine: dask.distributed, on this machine or others, or SLURM."""
