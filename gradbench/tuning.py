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


def best_of(points: Sequence[Point], budget: int) -> list[dict[str, float]]:
    """Return the expected best of k of these points, tried in random order, for every k.

    `evaluations` to the target (the budget where unsolved) and the final `score`; a point that
    failed counts as the budget and as chance. Of n values the i-th best is the best of k with
    probability C(n - i, k - 1) / C(n, k) (Dodge et al., arXiv:1909.03004, without replacement).
    """
    usable = [not p.failed or p.solved for p in points]
    paired = list(zip(points, usable, strict=True))
    costs = sorted(p.evaluations if good else budget for p, good in paired)
    scores = sorted(
        (p.score if good and math.isfinite(p.score) else 0.0 for p, good in paired), reverse=True
    )
    n = len(points)

    def expected(values: list[float], k: int) -> float:
        shares = (math.comb(n - 1 - i, k - 1) / math.comb(n, k) for i in range(n))
        return math.fsum(share * value for share, value in zip(shares, values, strict=True))

    return [
        {"k": k, "evaluations": expected(costs, k), "score": expected(scores, k)}
        for k in range(1, n + 1)
    ]


def beyond(points: Sequence[Point], chosen: Point) -> float | None:
    """Return the offset one decade past the edge where the best point lies on it, else None."""
    low = min(p.offset for p in points)
    high = max(p.offset for p in points)
    if low == high:
        return None
    if chosen.offset == high:
        return high + 1.0
    return low - 1.0 if chosen.offset == low else None
