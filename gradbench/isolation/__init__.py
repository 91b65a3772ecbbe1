"""Finds and restores what an optimizer's code leaves changed in the process."""
