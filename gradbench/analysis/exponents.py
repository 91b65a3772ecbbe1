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
    stream = np.random.Generator(np.random.Philox(0))
    medians = [
        np.median(stream.choice(found, (RESAMPLES, len(found))), axis=1) for found in known.values()
    ]
    drawn = np.stack(medians, axis=1)
    slopes = _slopes(places, drawn[np.isfinite(drawn).all(axis=1)])
    (fitted,) = _slopes(places, np.array([[np.median(found) for found in known.values()]]))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(slopes if len(slopes) else [fitted], [tail, 1 - tail])
    return Exponent(float(fitted), float(low), float(high))


def _slopes(places: np.ndarray, medians: np.ndarray) -> np.ndarray:
    """Return the least-squares slope of each row of medians, shape `(n, rungs)`, in logarithms."""
    away = places - places.mean()
    slopes: np.ndarray = np.log(medians) @ away / (away @ away)
    return slopes
