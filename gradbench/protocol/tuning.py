"""Points and choice of a learning-rate sweep, by the same rules for every optimizer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count, islice

SEEDS = {"quick": 1, "standard": 3, "paper": 3}


FURTHER = 4
"""Most points, a decade apart, that a sweep adds while the best point is on its edge."""
FINALISTS, MORE_SEEDS = 2, 2
"""Number of best points of a sweep that are tried again, and number of further seeds for each."""


def seeds(preset: str) -> list[int]:
    """Return the tuning seeds; they are negative, so none is ever an evaluation seed."""
    return [-1 - index for index in range(SEEDS[preset])]


def more_seeds(preset: str) -> list[int]:
    """Return the further tuning seeds, on which the best points are tried."""
    return [-1 - SEEDS[preset] - index for index in range(MORE_SEEDS)]


def offsets(points: int) -> list[float]:
    """Return decades from the default rate: 0, +1, -1, +2, -2, then half decades outward.

    The list for fewer points is a prefix of the list for more.

    >>> offsets(7)
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5]
    """
    halves = chain((0.5, 1.5), count(2.5, 0.5))
    outward = chain((1.0, 2.0), halves)
    return list(
        islice(chain((0.0,), (sign * step for step in outward for sign in (1, -1))), points)
    )


def rate(default: float, offset: float) -> float:
    """Return the default times 10^offset, rounded to six digits (0.01, not 0.00999...)."""
    return float(f"{default * 10**offset:.6g}")


@dataclass(frozen=True)
class Point:
    """Results of the tuning seeds at one point; `evaluations` counts the budget where unsolved."""

    offset: float
    solved: int
    evaluations: float
    score: float
    failed: bool = False  # diverged or crashed on some seed


def ranked(points: Sequence[Point]) -> list[Point]:
    """Return the points that can be used, best first.

    By most tuning seeds solved, then fewest evaluations to target, then highest final score, then
    nearest the default. A point that diverged or crashed on some seed and solved none is left out.
    """

    def rank(point: Point) -> tuple[float, float, float, float]:
        score = point.score if math.isfinite(point.score) else -math.inf
        return (-point.solved, point.evaluations, -score, abs(point.offset))

    return sorted((p for p in points if not p.failed or p.solved > 0), key=rank)


def best(points: Sequence[Point]) -> Point | None:
    """Return the first of `ranked`; None where every rate diverged or crashed."""
    return next(iter(ranked(points)), None)


def finalists(points: Sequence[Point]) -> list[Point]:
    """Return the points to be tried on more seeds; none where there is no choice.

    Where the best solved no seed, no point is known to work, and more seeds would not help.
    """
    first = ranked(points)[:FINALISTS]
    return first if len(first) == FINALISTS and first[0].solved > 0 else []


def best_of(points: Sequence[Point], budget: int) -> list[dict[str, float]]:
    """Return the expected best of k of these points, tried in random order, for every k.

    `evaluations` to the target (the budget where unsolved) and the final `score`; a point that
    failed counts as the budget and as chance. Of n values the i-th best is the best of k with
    probability C(n - i, k - 1) / C(n, k) (Dodge et al., arXiv:1909.03004, without replacement).
    """
    usable = [not p.failed or p.solved > 0 for p in points]
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
