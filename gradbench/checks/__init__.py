"""Conformance: whether an optimizer is usable, and whether a case is provable."""
