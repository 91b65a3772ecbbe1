"""Where items run: in this process, in worker processes, on Dask, on SLURM."""
