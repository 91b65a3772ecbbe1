"""One item, a case and an optimizer: sweep, evaluation seeds, outcome, record."""
