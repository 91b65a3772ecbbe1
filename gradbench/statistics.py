"""Arrays in, numbers out. Knows nobody."""

import math
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a proportion; 95 % by default.

    Formula: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"need 0 <= successes <= trials and trials >= 1: {successes}/{trials}")
    p = successes / trials
    centre = p + z * z / (2 * trials)
    spread = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def censored_median(times: Sequence[float | None]) -> float | None:
    """Median of times to target, None standing for "not within the budget".

    The first time by which half or more have arrived; None where fewer ever do. With one common
    budget this is the Kaplan-Meier median.
    """
    if not times:
        raise ValueError("the median of no times does not exist")
    arrived = sorted(time for time in times if time is not None)
    half = (len(times) + 1) // 2
    return float(arrived[half - 1]) if len(arrived) >= half else None


def summary(
    values: Sequence[float], weights: Sequence[int] | None = None
) -> dict[str, float | None]:
    """Median, quartiles and mean of a sample; all None for an empty one.

    A value of weight n counts as n equal observations.
    """
    if not values:
        return {"median": None, "q1": None, "q3": None, "mean": None}
    each = np.repeat(values, 1 if weights is None else weights)
    q1, median, q3 = (float(q) for q in np.quantile(each, [0.25, 0.5, 0.75]))
    return {"median": median, "q1": q1, "q3": q3, "mean": float(np.mean(each))}
