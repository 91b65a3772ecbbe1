import math
import statistics

import numpy as np
import pytest
from scipy import stats

from gradbench.analysis.statistics import summary, wilson
from gradbench.results.outcome import censored_median


@pytest.mark.parametrize("n", [1, 2, 5, 12, 100])
def test_wilson_against_scipy(n):
    for k in range(n + 1):
        reference = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert wilson(k, n) == pytest.approx((reference.low, reference.high), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(k, n):
    with pytest.raises(ValueError, match="successes"):
        wilson(k, n)


@pytest.mark.parametrize(
    "times",
    [[30, None, 10, 20, None], [10, 20], [10, 20, None, None], [7, None], [5, 6, 7, None, None, 8]],
)
def test_the_censored_median_is_kaplan_meiers(times):
    budget = 100
    data = stats.CensoredData(
        uncensored=[t for t in times if t is not None],
        right=[budget for t in times if t is None],
    )
    survival = stats.ecdf(data).sf
    reached = survival.quantiles[survival.probabilities <= 0.5][0]
    assert censored_median(times) == reached


def test_more_than_half_censored_has_no_median():
    assert censored_median([10, None, None]) is None
    assert censored_median([None]) is None
    assert censored_median([None, 5, 7]) == 7
    with pytest.raises(ValueError, match="no times"):
        censored_median([])


def test_summary_against_the_standard_library():
    values = [3.0, 1.0, 2.0, 10.0, 4.0]
    got = summary(values)
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    assert got == {"median": median, "q1": q1, "q3": q3, "mean": statistics.mean(values)}
    assert set(summary([]).values()) == {None}
    assert summary([3.0, 1.0], [2, 3]) == summary([3.0, 3.0, 1.0, 1.0, 1.0])
    assert not any(math.isnan(v) for v in got.values())


@pytest.mark.parametrize(("n", "least"), [(5, 0.83), (12, 0.88)])
def test_wilsons_interval_covers_95_percent_on_average(n, least):
    """By enumeration over all outcomes, for every chance of success in steps of 0.005."""
    covered = []
    for p in np.linspace(0.005, 0.995, 199):
        inside = [k for k in range(n + 1) if wilson(k, n)[0] <= p <= wilson(k, n)[1]]
        covered.append(stats.binom.pmf(inside, n, p).sum())
    assert 0.93 <= np.mean(covered) <= 0.97
    assert min(covered) >= least
