"""Fitted exponents: exact powers, coverage where the truth is known, and what cannot be fitted."""

import numpy as np
import pytest

from gradbench.analysis.exponents import exponent


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 2.0])
def test_a_power_without_noise_is_found_exactly(power):
    found = exponent({at: [100 * at**power] * 5 for at in (1.0, 10.0, 100.0)})
    assert found == pytest.approx((power, power, power), abs=1e-9)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    """Log-normal times of 20 seeds on three rungs; of 200 fits."""
    stream = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        times = {
            at: list(50 * at**1.3 * np.exp(0.5 * stream.standard_normal(20)))
            for at in (10.0, 30.0, 90.0)
        }
        found = exponent(times)
        inside += found.low <= 1.3 <= found.high
    assert 0.88 <= inside / 200 < 1


def test_a_rung_that_resamples_leave_unsolved_opens_the_end_that_it_could_move():
    times = {1.0: [10] * 5, 10.0: [100] * 5, 100.0: [1000, 1000, 1000, None, None]}
    assert exponent(times) == pytest.approx((1, 1, np.inf))
    turned = {1 / at: found for at, found in times.items()}
    assert exponent(turned) == pytest.approx((-1, -np.inf, -1))


def test_few_seeds_have_no_interval():
    times = {at: [50 * at] * 3 for at in (1.0, 10.0)}
    assert exponent(times) == pytest.approx((1, -np.inf, np.inf))


def test_rungs_that_most_seeds_do_not_solve_are_left_out():
    times = {1.0: [10, 10, 10], 10.0: [100, 100, None], 100.0: [50, None, None]}
    assert exponent(times).value == pytest.approx(1)
    assert exponent({1.0: [10], 10.0: [None]}) is None
    assert exponent({0.0: [10], 10.0: [20]}) is None
    assert exponent({}) is None
