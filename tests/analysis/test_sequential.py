"""Tests that may be repeated: their error by exact enumeration, also with peeking at every pair."""

import itertools
import math

import numpy as np
import pytest

from gradbench.analysis.sequential import anytime_p

SIZES = ([1.0] * 9, [0.1] * 9, [0.05, 2.0, 0.3, 1.0, 0.7, 0.2, 3.0, 0.6, 0.9])


@pytest.mark.parametrize("sizes", SIZES)
def test_the_chance_that_p_is_ever_small_is_at_most_p_for_every_sign_pattern(sizes):
    """All 2^9 patterns of signs, equally likely if the differences are symmetric about 0."""
    least = []
    for signs in itertools.product((-1, 1), repeat=len(sizes)):
        d = [sign * size for sign, size in zip(signs, sizes, strict=True)]
        least.append(min(anytime_p(d[:n]) for n in range(1, len(d) + 1)))
    for level in (0.2, 0.05, 0.0125):
        share = sum(p <= level for p in least) / len(least)
        assert share <= level
    assert min(least) < 0.05  # and it can fail at all


def test_a_mean_below_zero_makes_no_alarms_and_one_above_is_found():
    stream = np.random.default_rng(0)
    below = [anytime_p(stream.normal(-0.1, 0.3, 50)) for _ in range(200)]
    above = [anytime_p(stream.normal(0.3, 0.3, 50)) for _ in range(200)]
    assert sum(p <= 0.05 for p in below) <= 2
    assert sum(p <= 0.0125 for p in above) >= 195


def test_equal_differences_are_bounded_by_the_sign_test_and_nothing_by_one():
    for n in (1, 5, 12):
        assert 2.0**-n <= anytime_p([0.5] * n) < 1.0
    assert anytime_p([0.0] * 9) == anytime_p([]) == 1.0
    assert anytime_p([3.0] * 60) == pytest.approx(0.0, abs=1e-12)
    assert anytime_p([-3.0] * 400) == pytest.approx(1.0)
    assert math.isfinite(anytime_p([1e6, -1e6]))
