"""One learning problem per file, in pure torch."""
