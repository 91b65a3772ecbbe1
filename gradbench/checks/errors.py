"""How a check says that it failed, or that it has no result."""

import unittest


class CheckError(AssertionError):
    """A check failed; the message is one line that says why."""


class NotCheckedError(unittest.SkipTest):
    """A check has no result for this optimizer or machine; the message says why."""
