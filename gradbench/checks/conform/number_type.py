"""The type of numbers in which an optimizer is run: float64, unless it takes float32 only."""

from dataclasses import replace

import torch

from gradbench.checks.conform.problems import problem_named
from gradbench.checks.conform.runs import Way, path
from gradbench.optimizers.factory import Factory

STEPS = 40
"""Steps in which an optimizer is taken to use all of its kinds of update."""


SINGLE = 1e-4
"""Largest difference by rounding to float32, relative to a parameter's norm."""


def single(way: Way) -> Way:
    """Return a way in float32."""
    return replace(way, dtype=torch.float32, rounded=torch.float32)


def said_single(factory: Factory) -> str:
    """Return why optimizers were compared in float32."""
    return (
        f"compared in float32, within {SINGLE:g} of a norm: {factory.cls.__name__} takes no other"
    )


def number_type(factory: Factory) -> torch.dtype:
    """Return float32 for an optimizer that raises in float64 and trains in float32, else float64.

    Some keep float32 state whatever the parameters' type, and cannot combine the two.
    """
    if not _raises(factory, torch.float64) or _raises(factory, torch.float32):
        return torch.float64
    return torch.float32


def _raises(factory: Factory, dtype: torch.dtype) -> bool:
    try:
        path(factory, problem_named("matrices"), Way(dtype=dtype, rounded=dtype), STEPS)
    except (Exception, SystemExit):  # noqa: BLE001  # whatever an optimizer raises
        return True
    return False
