"""The learning-rate sweep that every optimizer gets: the same points, the same choice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count, islice

FALLBACK = 1e-3
"""Centre of the sweep for an optimizer whose learning rate has no default."""

SEEDS = {"quick": 1, "standard": 3, "paper": 3}


def seeds(preset: str) -> list[int]:
    """Return the tuning seeds; they are negative, so none is ever an evaluation seed."""
    return [-1 - index for index in range(SEEDS[preset])]


def offsets(points: int) -> list[float]:
    """Decades from the default rate: 0, +1, -1, +2, -2, then half decades outward.

    A smaller budget is a prefix of a larger one.

    >>> offsets(7)
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5]
    """
    halves = chain((0.5, 1.5), count(2.5, 0.5))
    outward = chain((1.0, 2.0), halves)
    return list(
        islice(chain((0.0,), (sign * step for step in outward for sign in (1, -1))), points)
    )


def rate(default: float, offset: float) -> float:
    """Return the default moved by a number of decades, free of binary dust (0.01, not 0.00999)."""
    return float(f"{default * 10**offset:.6g}")


@dataclass(frozen=True)
class Point:
    """What the tuning seeds did at one rate; `evaluations` counts the budget where unsolved."""

    offset: float
    solved: int
    evaluations: float
    score: float
    failed: bool = False  # diverged or crashed on some seed


def best(points: Sequence[Point]) -> Point | None:
    """Choose the rate: fewest evaluations to target, then highest final score, then nearest the
    default. None where every rate diverged or crashed.
    """  # noqa: D205
    usable = [p for p in points if not p.failed or p.solved]
    if not usable:
        return None

    def rank(point: Point) -> tuple[float, float, float]:
        score = point.score if math.isfinite(point.score) else -math.inf
        return (point.evaluations, -score, abs(point.offset))

    return min(usable, key=rank)


def beyond(points: Sequence[Point], chosen: Point) -> float | None:
    """Return the offset one decade past the edge where the best point lies on it, else None."""
    low = min(p.offset for p in points)
    high = max(p.offset for p in points)
    if low == high:
        return None
    if chosen.offset == high:
        return high + 1.0
    return low - 1.0 if chosen.offset == low else None
