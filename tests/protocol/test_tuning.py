import math

import pytest

from gradbench.protocol.tuning import (
    Point,
    best,
    beyond,
    finalists,
    more_seeds,
    offsets,
    rate,
    seeds,
)


def test_five_points_a_decade_apart_then_half_decades():
    assert offsets(5) == [0, 1, -1, 2, -2]
    assert offsets(9) == [0, 1, -1, 2, -2, 0.5, -0.5, 1.5, -1.5]
    assert len(set(offsets(40))) == 40


@pytest.mark.parametrize("points", range(1, 20))
def test_a_smaller_budget_is_a_prefix_of_a_larger_one(points):
    assert offsets(points) == offsets(20)[:points]


def test_rates_are_free_of_binary_dust():
    assert [rate(1e-3, k) for k in (0, 1, -1, 2, -2)] == [1e-3, 1e-2, 1e-4, 1e-1, 1e-5]
    assert rate(1e-3, 0.5) == pytest.approx(1e-3 * math.sqrt(10), rel=1e-5)


def test_fewest_evaluations_then_highest_score_then_nearest_the_default():
    fast, slow = Point(2, 1, 50, 0.95), Point(0, 1, 80, 1.0)
    assert best([slow, fast]) is fast
    low, high = Point(0, 0, 100, 0.2), Point(-2, 0, 100, 0.6)
    assert best([low, high]) is high
    near, far = Point(1, 0, 100, 0.3), Point(-2, 0, 100, 0.3)
    assert best([far, near]) is near


def test_more_solved_seeds_win_before_fewer_evaluations():
    edge, safe = Point(2, 1, 60, 0.948), Point(1, 3, 90, 0.981)
    assert best([edge, safe]) is safe


def test_the_two_best_are_tried_again_where_one_of_them_works():
    works, next_best, worst = Point(2, 1, 50, 1.0), Point(0, 0, 100, 0.5), Point(1, 0, 100, 0.1)
    assert finalists([worst, next_best, works]) == [works, next_best]
    assert finalists([worst, next_best]) == []
    assert finalists([works]) == []
    assert not set(more_seeds("quick")) & set(seeds("quick"))
    assert all(seed < 0 for seed in more_seeds("standard"))


def test_divergence_decides_nothing_unless_every_rate_failed():
    wild = Point(2, 0, 100, 0.9, failed=True)
    tame = Point(0, 0, 100, 0.1)
    assert best([wild, tame]) is tame
    assert best([wild]) is None


def test_a_score_that_is_no_number_is_the_worst():
    nan, bad = Point(0, 0, 100, math.nan), Point(1, 0, 100, -1.0)
    assert best([nan, bad]) is bad


def test_the_sweep_moves_on_only_from_its_edge():
    points = [Point(k, 0, 1, 0) for k in offsets(5)]
    assert beyond(points, points[3]) == 3
    assert beyond(points, points[4]) == -3
    assert beyond(points, points[0]) is None
    assert beyond(points[:1], points[0]) is None


def test_tuning_seeds_are_never_evaluation_seeds():
    assert all(seed < 0 for preset in ("quick", "standard", "paper") for seed in seeds(preset))
    assert [len(seeds(p)) for p in ("quick", "standard", "paper")] == [1, 3, 3]
