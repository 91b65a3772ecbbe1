"""The power with which evaluations grow along a ladder, fitted to trials, with its interval."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 400
LEVEL = 0.95


class Exponent(NamedTuple):
    """A fitted exponent and its interval."""

    value: float
    low: float
    high: float


def exponent(times: Mapping[float, Sequence[float | None]]) -> Exponent | None:
    """Fit log median evaluations by log axis, over rungs that most seeds have solved.

    `times` maps a rung's place on its axis to the evaluations of its seeds, None where one was not
    solved. The interval is of 95 %, over resampled seeds of each rung (percentiles); in it the
    medians are of seeds alone, so rungs that are wrongly measured or a law that bends do not widen
    it. None where fewer than two rungs are left.
    """
    known = {
        at: np.array([math.inf if t is None else max(t, 1) for t in found])
        for at, found in times.items()
        if at > 0 and len(found) > 0
    }
    known = {at: found for at, found in known.items() if np.isfinite(np.median(found))}
    if len(known) < 2:
        return None
    places = np.log(list(known))
    fitted = _slope(places, [np.median(found) for found in known.values()])
    stream = np.random.Generator(np.random.Philox(0))
    slopes = []
    for _ in range(RESAMPLES):
        medians = [np.median(stream.choice(found, len(found))) for found in known.values()]
        if np.isfinite(medians).all():
            slopes.append(_slope(places, medians))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(slopes or [fitted], [tail, 1 - tail])
    return Exponent(fitted, float(low), float(high))


def _slope(places: np.ndarray, medians: Sequence[float]) -> float:
    return float(np.polyfit(places, np.log(medians), 1)[0])
