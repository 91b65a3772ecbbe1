"""From a spec to an optimizer factory: requirements, wrappers, schedules, search spaces."""
