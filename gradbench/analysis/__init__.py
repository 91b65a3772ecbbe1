"""Statistics over records: comparison of optimizers, baselines, history."""
