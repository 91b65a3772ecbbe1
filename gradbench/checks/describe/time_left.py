"""Whether a number of an optimizer's steps can still be taken in time."""

import time
from collections.abc import Callable
from contextlib import suppress

import torch

from gradbench.checks.describe.quadratics import linear, steps
from gradbench.optimizers.factory import Factory

InTime = Callable[[int], bool]
"""Returns whether a number of steps will be taken in time."""

LATE = "not measured for lack of time"

TIMED = 20
"""Steps that are taken twice, and timed once, to foresee how long others take."""


def time_left(factory: Factory, seconds: float) -> InTime:
    """Return a function that says whether a number of steps of one parameter ends in time.

    The time is over in `seconds` from now. Where the optimizer raises, all are in time.
    """
    end = time.monotonic() + seconds
    one = torch.ones(1, dtype=torch.float64)
    each = 0.0
    with suppress(Exception, SystemExit):
        for _ in range(2):
            begun = time.monotonic()
            steps(factory, [one], linear([one]), TIMED)
            each = (time.monotonic() - begun) / TIMED
    return lambda count: time.monotonic() + count * each < end
