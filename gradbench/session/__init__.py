"""Pytest's side of a run: options, items, verdicts, terminal."""
