"""Learners, activations and codes that scenarios are built from."""
