"""Many trials of one case trained at once, as one network with a leading dimension."""
