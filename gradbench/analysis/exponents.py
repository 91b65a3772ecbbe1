"""The power with which evaluations grow along a ladder, fitted to trials, with its interval."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gradbench.analysis.statistics import FEWEST

RESAMPLES = 400
LEVEL = 0.95


class Exponent(NamedTuple):
    """A fitted exponent and its interval.

    Both ends are infinite where there are too few seeds, an end where a rung may be unsolved.
    """

    value: float
    low: float
    high: float


def exponent(times: Mapping[float, Sequence[float | None]]) -> Exponent | None:
    """Fit log median evaluations by log axis, over rungs that most seeds have solved.

    `times` maps a rung's place on its axis to the evaluations of its seeds, None where one was not
    solved. The interval is of 95 %, over resampled seeds of each rung (percentiles); in it the
    medians are of seeds alone, so rungs that are wrongly measured or a law that bends do not widen
    it. A resampled median that is not solved makes an end infinite, as all do with fewer than
    `FEWEST` seeds. None where fewer than two rungs are left.
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
    (fitted,) = _slopes(places, np.array([[np.median(found) for found in known.values()]]))
    if min(map(len, known.values())) < FEWEST:
        return Exponent(float(fitted), -math.inf, math.inf)
    low, high = np.sort(_least(places, drawn)), np.sort(-_least(-places, drawn))
    end = int((1 - LEVEL) / 2 * RESAMPLES)
    return Exponent(float(fitted), float(low[end]), float(high[-1 - end]))


def _least(places: np.ndarray, medians: np.ndarray) -> np.ndarray:
    """Return the least slope of each row, whatever the medians are that are not finite."""
    away = places - places.mean()
    infinite = ~np.isfinite(medians)
    falls = (infinite & (away < 0)).any(axis=1)
    rises = (infinite & (away > 0)).any(axis=1)
    known = np.where(infinite, 1.0, medians)
    return np.where(falls, -np.inf, np.where(rises, np.inf, _slopes(places, known)))


def _slopes(places: np.ndarray, medians: np.ndarray) -> np.ndarray:
    """Return the least-squares slope of each row of medians, shape `(n, rungs)`, in logarithms."""
    away = places - places.mean()
    slopes: np.ndarray = np.log(medians) @ away / (away @ away)
    return slopes
