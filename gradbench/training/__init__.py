"""One trial: data, training loop, evaluation, clock."""
