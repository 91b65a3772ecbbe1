"""Where two paths differ, and by how much."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gradbench.checks.conform.runs import Path

ROUNDING = 1e-14
"""Difference of two values by rounding in float64, relative to their size: a few units in the last
place, which is much of the way where a step is tiny."""


@dataclass(frozen=True)
class Gap:
    """Where two paths differ first, and by how much: the norm of the difference of a parameter.

    It is relative to the larger distance that the two have moved it so far, or to its larger norm.
    """

    step: int
    parameter: str
    relative: float


def equal(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal to the bit; where both hold no number, they are."""
    return torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)


def gap(one: Path, other: Path, tolerance: float, *, by_norm: bool = False) -> Gap | None:
    """Return the first difference of two paths above the tolerance; None where there is none.

    With `by_norm` it is relative to a parameter's norm, else to the distance that it has moved.
    """
    start = {name: value * (not by_norm) for name, value in one[0].items()}
    for number, (a, b) in enumerate(zip(one, other, strict=True)):
        largest = max(((relative(start, a, b, name), name) for name in a), default=(0.0, ""))
        if largest[0] > tolerance:
            return Gap(number, largest[1], largest[0])
    return None


def relative(
    start: Mapping[str, Tensor], a: Mapping[str, Tensor], b: Mapping[str, Tensor], name: str
) -> float:
    """Return the distance of a parameter's two values over the larger way from its start."""
    if torch.equal(a[name], b[name]):
        return 0.0
    finite = [bool(side[name].isfinite().all()) for side in (a, b)]
    if not any(finite):
        return 0.0
    if not all(finite):
        return float("inf")
    moved = max(float((side[name] - start[name]).norm().item()) for side in (a, b))
    return float((a[name] - b[name]).norm().item()) / max(moved, 1e-300)


def largest(one: Path, other: Path) -> float:
    """Return the largest relative difference of two paths, but for rounding of the parameters."""
    return max(
        (
            relative(one[0], a, b, name)
            for a, b in zip(one, other, strict=True)
            for name in a
            if not _rounded(a[name], b[name])
        ),
        default=0.0,
    )


def _rounded(a: Tensor, b: Tensor) -> bool:
    """Return whether two values differ by no more than some units in the last place."""
    return float((a - b).norm().item()) <= ROUNDING * float(a.norm().item())
