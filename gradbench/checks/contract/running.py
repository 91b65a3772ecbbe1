"""How a check runs an optimizer, and when two of its paths are the same."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

from gradbench.checks.conform.gaps import Gap, gap
from gradbench.checks.conform.number_type import SINGLE, STEPS, number_type
from gradbench.checks.conform.problems import problem_named
from gradbench.checks.conform.runs import Path, Way, path
from gradbench.checks.errors import CheckError, NotCheckedError
from gradbench.optimizers.factory import Factory
from gradbench.spec import SpecError
from gradbench.text import error_line

ROUNDING = 1e-9
"""Largest relative difference by another order of sums, in float64."""


def refused_if_it_raises(check: Callable[[str], str]) -> Callable[[str], str]:
    """Return a check that raises NotCheckedError where the optimizer raises: it is not silent."""

    @functools.wraps(check)
    def checked(spec: str) -> str:
        try:
            return check(spec)
        except (CheckError, NotCheckedError, SpecError):
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever an optimizer raises
            raise NotCheckedError(f"refused: {error_line(error)}") from None

    return checked


def way_of(factory: Factory, options: Mapping[str, Any] | None = None, **changes: Any) -> Way:  # noqa: ANN401
    """Return a way to run an optimizer in the type of numbers that it takes."""
    dtype = number_type(factory)
    return Way(options or {}, dtype=dtype, rounded=dtype, **changes)


def path_of(factory: Factory, name: str, way: Way | None = None, steps: int = STEPS) -> Path:
    """Return the optimizer's path on the problem of that name."""
    return path(factory, problem_named(name), way or way_of(factory), steps)


def gap_of(one: Path, other: Path, factory: Factory) -> Gap | None:
    """Return where two paths differ by more than another order of sums explains."""
    single = number_type(factory) is torch.float32
    return gap(one, other, SINGLE if single else ROUNDING, by_norm=single)
