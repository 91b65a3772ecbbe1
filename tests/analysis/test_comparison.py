"""Comparisons on records whose answer is known."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from gradbench.analysis.alike import NotComparableError, comparable, unlike
from gradbench.analysis.comparison import compare
from gradbench.analysis.statistics import geometric_mean, holm, sign_flip
from gradbench.report.comparison import conclusions, markdown, text
from gradbench.report.markdown import page
from gradbench.results import baseline_file
from gradbench.results.record import line_of
from gradbench.results.summaries import in_brief


def test_wins_ties_losses_and_the_ratio_where_both_solve(record):
    a = record(times=(10, 20, None, 40, None))
    b = record(times=(20, 20, 30, None, None))
    (row,) = compare([a], [b]).cases
    assert (row.wins, row.ties, row.losses) == (2, 2, 1)
    assert (row.solved_a, row.solved_b, row.seeds) == (3, 3, 5)
    assert row.ratio == pytest.approx(math.sqrt(10 / 20 * 20 / 20))
    differences = [math.log(r) for r in (0.5, 1.0, 100 / 30, 0.4, 1.0)]
    assert row.p == sign_flip(differences)
    assert row.step_time == 1.0


def test_equal_runs_show_nothing_and_say_so(record):
    found = compare([record()], [record()])
    assert (found.ratio, found.p) == (1.0, 1.0)
    assert "no difference is shown" in " ".join(conclusions(found))


def test_five_seeds_cannot_tell_a_case_and_pooled_they_can(record):
    cases = [f"case{i}" for i in range(8)]
    slow = [record(c, times=(20, 40, 60, 80, 90)) for c in cases]
    found = compare([record(c) for c in cases], slow, names=("fast", "slow"))
    assert {row.p for row in found.cases} == {2 / 32}
    said = " ".join(conclusions(found))
    assert "no single case can be told apart with 5 seeds" in said
    assert "9 seeds could" in said  # 2^-8 * 8 = 1/32
    assert "over all cases they differ" in said
    assert "fast needs fewer evaluations" in said


def test_the_side_that_is_named_is_the_one_that_the_test_favours(record):
    """A is first on more seeds by a hair, B eight times faster on the others."""
    a = record(times=(*[100] * 8, *[80] * 6), budget=1000)
    b = record(times=(*[101] * 8, *[10] * 6), budget=1000)
    found = compare([a], [b])
    differences = [math.log(100 / 101)] * 8 + [math.log(8)] * 6
    result = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=10**5
    )
    assert found.p == pytest.approx(result.pvalue, abs=1e-9)
    assert (found.cases[0].wins, found.cases[0].losses) == (8, 6)
    assert found.mean_log == found.cases[0].mean_log == pytest.approx(np.mean(differences))
    said = " ".join(conclusions(found))
    assert "case (B)" in said
    assert "(p = 0.031; A is first on 8 seeds, B on 6): B needs fewer evaluations" in said


def test_a_ratio_is_a_bound_only_if_the_slower_side_alone_was_cut(record):
    def said(a, b):
        cases = [("one", "flatness"), ("two", "other")]
        sides = [[record(c, times=t, family=f) for c, f in cases] for t in (a, b)]
        return conclusions(compare(*sides))[-1]

    assert "lower bound" in said((90, None), (10, 20))
    assert "lower bound" in said((10, 20), (90, None))
    assert "may be higher or lower" in said((10, None), (90, 95))
    assert "may be higher or lower" in said((90, None), (10, None))
    assert "cut" not in said((10, 20), (20, 30))


def test_cases_without_a_common_seed_are_named_and_left_out(record):
    other = record("apart")
    other.trials = [trial | {"seed": trial["seed"] + 100} for trial in other.trials]
    found = compare(
        [record("x", times=range(10, 22)), record("y"), record("apart")],
        [record("x", times=range(10, 22)), record("y"), other],
    )
    assert [row.case for row in found.cases] == ["x", "y"]
    assert found.apart == ("apart",)
    assert "no seed in common: apart" in text(found)
    said = conclusions(
        compare([record("x", times=(1, 2)), record("y")], [record("x", times=(3, 4)), record("y")])
    )[0]
    assert said == (
        "no single case can be told apart with 2 to 5 seeds: the smallest possible p is 0.062, "
        "for each of 2 cases; 7 seeds could"
    )
    with pytest.raises(NotComparableError, match="no seed of a case was run by both"):
        compare([record("apart")], [other])


def test_whether_a_rate_was_swept_is_not_guessed_where_records_do_not_tell(record, tmp_path):
    """A baseline keeps no sweeps, a large run is read without their points."""
    baseline_file.write(tmp_path / "b.json", {}, [record()])
    kept = baseline_file.load(tmp_path / "b.json").records
    assert compare([record()], kept).tuned == (True, None)
    swept = record(tuning_cost={"gradient_evaluations": 3})
    assert compare([record()], [in_brief(line_of(swept))]).tuned == (True, True)
    assert not any("tuned" in line for line in conclusions(compare([record()], kept)))


def test_a_tuned_optimizer_against_an_untuned_one_is_said(record):
    tuned = record()
    said = conclusions(
        compare([tuned], [record(tuning=[], tuning_cost={})], names=("one", "other"))
    )
    assert said[0] == "one had its rate tuned and other ran as given: not a like comparison"
    assert "tuned" not in conclusions(compare([tuned], [tuned]))[0]


def test_twelve_seeds_can_tell_a_case(record):
    times = tuple(range(10, 22))
    found = compare([record(times=times)], [record(times=tuple(3 * t for t in times))])
    assert found.cases[0].holm == 2 / 2**12
    assert "single cases that differ" in conclusions(found)[0]


def test_approaches_of_one_problem_flip_together(record):
    """Eight approaches of one problem are five pairs and not forty."""
    ours = [record(f"c{i}", approach=str(i), setting={"n": 1}) for i in range(8)]
    theirs = [
        record(f"c{i}", approach=str(i), setting={"n": 1}, times=(20, 40, 60, 80, 90))
        for i in range(8)
    ]
    assert compare(ours, theirs).p == 2 / 32


def test_the_mean_over_families_weighs_them_alike(record):
    families = ("flatness", "conditioning", "uninformative")
    factors = (2, 3, 5)
    a = [record(f, family=f) for f in families] + [record("more", family="flatness")]
    b = [
        record(f, family=f, times=tuple(t * k for t in (10, 11, 12, 13, 14)), budget=1000)
        for f, k in zip(families, factors, strict=True)
    ]
    a = [
        dataclasses.replace(r, budget=1000, trials=record(times=(10, 11, 12, 13, 14)).trials)
        for r in a
    ]
    b.append(dataclasses.replace(b[0], case="more", setting={"case": "more"}))
    found = compare(a, b)
    assert found.ratio == pytest.approx((1 / 2 / 3 / 5) ** (1 / 3))
    logs = [-math.log(k) for k in factors]
    low, high = stats.t.interval(0.95, 2, sum(logs) / 3, stats.sem(logs))
    assert found.interval == pytest.approx((math.exp(low), math.exp(high)))


def test_learners_and_the_unsupported_are_left_out_and_the_missing_named(record):
    a = [record("x"), record("learned", expectation="learner"), record("mine")]
    odd = record("y")
    odd.trials[0]["status"] = "unsupported"
    found = compare([*a, odd], [record("x"), record("y"), record("theirs")])
    assert [row.case for row in found.cases] == ["x"]
    assert (found.only_a, found.only_b) == (("mine",), ("y", "theirs"))


@pytest.mark.parametrize(
    ("name", "value"), [("budget", 50), ("setting", {"n": 3}), ("batch", 1), ("approach", "b")]
)
def test_cases_that_are_not_alike_do_not_compare(record, name, value):
    with pytest.raises(NotComparableError, match=f"not comparable: {name} of case is"):
        compare([record()], [record(**{name: value})])


def test_runs_that_are_not_alike_do_not_compare(record):
    about = {"protocol": 1, "preset": "quick", "tuning": 5}
    comparable(about, dict(about))
    for name in about:
        with pytest.raises(NotComparableError, match=f"not comparable: {name} is"):
            comparable(about, about | {name: 0})
    with pytest.raises(NotComparableError, match="no case was run by both"):
        compare([record("x")], [record("y")])


def test_what_runs_differ_in_is_said_where_they_are_shown_together(about):
    assert unlike([about, dict(about)]) == []
    other = about | {"dtype": "bfloat16", "tuning": 0}
    assert unlike([about, other]) == [
        "These runs are not alike: tuning is 5 or 0.",
        "These runs are not alike: dtype is float32 or bfloat16.",
    ]
    for line in unlike([about, other]):
        assert line in page([about, other], [])


def test_step_times_compare_only_on_one_clock_and_device_and_alone(record):
    for change in ({"clock": "cuda-event"}, {"device": "cuda"}, {"contended": True}):
        other = record()
        other.timing = other.timing | change
        assert compare([record()], [other]).cases[0].step_time is None


def test_pages_fit_and_hold_every_case(record):
    cases = [f"a-rather-long-name-of-a-case-{i}" for i in range(5)]
    found = compare(
        [record(c) for c in cases], [record(c, times=(9, 9, 9, 9, None)) for c in cases]
    )
    assert max(map(len, text(found).splitlines())) <= 100
    page = markdown(found)
    assert all(f"| {c} " in page for c in cases)
    assert found.plain()["cases"][0]["case"] == cases[0]


# Statistics


def test_sign_flips_against_scipy():
    d = [0.3, -0.1, 0.8, 0.2, 0.5, -0.4, 0.9]
    reference = stats.permutation_test(
        (d,), sum, permutation_type="samples", n_resamples=10**6, vectorized=False
    )
    assert sign_flip(d) == pytest.approx(reference.pvalue)


def test_many_pairs_are_flipped_at_random_and_agree_with_the_exact_answer(monkeypatch):
    d = [0.3, -0.1, 0.8, 0.2, 0.5, -0.4, 0.9, 0.1, -0.3, 0.35, 0.2, -0.6]
    exact = sign_flip(d)
    monkeypatch.setattr("gradbench.analysis.statistics.EXACT", 3)
    assert sign_flip(d) == pytest.approx(exact, abs=0.01)
    assert sign_flip(d) == sign_flip(d)
    assert sign_flip([1.0] * 100) > 0


def test_false_alarms_are_as_many_as_stated():
    import numpy as np

    draws = np.random.default_rng(0).standard_normal((2000, 8))
    alarms = sum(sign_flip(list(row)) <= 0.05 for row in draws) / 2000
    assert 0.03 < alarms < 0.06


def test_ties_and_nothing_prove_nothing():
    assert sign_flip([]) == sign_flip([0.0, 0.0]) == 1.0
    assert sign_flip([1.0, 0.0]) == 1.0
    assert sign_flip([1.0] * 5) == 0.0625  # five pairs never reach 0.05
    assert sign_flip([1.0] * 6) < 0.05


def test_holm_by_its_published_example():
    """p = 0.01, 0.04, 0.03, 0.005: adjusted 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_interval_of_a_geometric_mean_covers_as_stated():
    import numpy as np

    draws = np.random.default_rng(1).standard_normal((2000, 4)) + 0.7
    inside = 0
    for row in draws:
        _, low, high = geometric_mean(list(row))
        inside += low <= math.exp(0.7) <= high
    assert 0.93 < inside / 2000 < 0.97
    assert geometric_mean([0.0]) == (1.0, 0.0, math.inf)
    with pytest.raises(ValueError, match="no ratios"):
        geometric_mean([])
