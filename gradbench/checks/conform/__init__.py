"""Whether two optimizers are the same algorithm, and what makes the difference where not."""
