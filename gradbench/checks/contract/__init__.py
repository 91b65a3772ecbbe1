"""What torch's own tests hold for its optimizers, for any optimizer."""
