"""Loads the plugin from a checkout; installed, its entry point of the same name does."""

pytest_plugins = ("gradbench.plugin", "pytester")
