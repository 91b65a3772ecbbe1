"""Engines that run items: in this process, in worker processes, on Dask, or on SLURM."""
