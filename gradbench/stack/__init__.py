"""Many trials of one case trained together, each to the numbers that it has in any other stack."""
