"""Optimizer specs, resolved to factories: requirements, wrappers, schedules, search spaces."""
