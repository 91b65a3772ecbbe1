"""Measured properties of an optimizer: what its steps depend on, and its limits."""
