"""Verifies, in clean processes, solutions of cases that no optimizer should solve."""
