"""What the HTML report is made of, on records whose answer is known."""

import json
import math

import numpy as np
import pytest

from gradbench.analysis.statistics import running_time, share_interval
from gradbench.report import tally
from gradbench.report.bands import band, spent
from gradbench.report.frontier import ladders
from gradbench.report.rows import distinct, legend, remarks
from gradbench.report.view import arrivals, result, view

PARITY = {"scenario": "parity", "family": "uninformative", "ladder": ["d", "weight"]}


def rung(record, d, weight, solved, optimizer="a", **changes):
    return record(
        f"parity-d{d}-weight{weight}",
        times=(10,) * solved + (None,) * (5 - solved),
        optimizer=optimizer,
        setting={"d": d, "weight": weight},
        **(PARITY | changes),
    )


def test_the_frontier_is_what_nothing_solved_is_harder_than(record):
    ours = [
        rung(record, 5, 2, 5),
        rung(record, 10, 5, 3),
        rung(record, 12, 6, 2),  # not most of the seeds
        rung(record, 30, 2, 5),
        rung(record, 30, 15, 0, expectation="never"),
    ]
    other = [rung(record, 5, 2, 1, optimizer="b")]
    (found,) = ladders([*ours, *other])
    assert (found.name, found.rungs) == ("parity", 5)
    assert found.hardest == {"a": "d = 10, weight = 5; d = 30, weight = 2", "b": ""}
    assert found.theory == "d = 30, weight = 15"


def test_approaches_and_words_are_ladders_of_their_own_and_one_rung_is_none(record):
    made = [
        rung(record, 5, 2, 5, approach=approach, expectation=expected)
        for approach, expected in [("gradient", "may"), ("elimination", "learner")]
    ]
    assert ladders(made) == []
    two = [rung(record, 5, 2, 5), rung(record, 6, 2, 5)]
    more = [rung(record, 5, 3, 5, approach="other"), rung(record, 6, 3, 5, approach="other")]
    assert [ladder.hardest["a"] for ladder in ladders([*two, *more])] == ["d = 6", "d = 6"]


def test_a_ladder_is_named_by_what_differs_in_the_run(record):
    plain = [rung(record, d, 2, 5) for d in (5, 6)]
    for one in plain:
        one.setting["inputs"] = "signs"
    assert [ladder.name for ladder in ladders(plain)] == ["parity"]
    bits = [rung(record, d, 2, 5) for d in (5, 6)]
    for one in bits:
        one.setting["inputs"] = "bits"
    names = [ladder.name for ladder in ladders([*plain, *bits])]
    assert names == ["parity inputs=signs", "parity inputs=bits"]


def trial(curve, status="unsolved", spent=None):
    return {"status": status, "curve": curve, "gradient_evaluations": spent or curve[-1][0]}


def test_a_band_is_the_seeds_with_their_last_score_held():
    found = band(
        [
            trial([[0, 0.0, 1], [10, 1.0, 1]], "solved"),
            trial([[0, 0.2, 1], [10, 0.4, 1], [20, 0.6, 1]]),
            trial([[0, 0.1, 1], [10, 0.3, 1], [20, 0.2, 1]]),
        ]
    )
    assert found["x"] == [0, 10, 20]
    assert found["mid"] == [0.1, 0.4, 0.6]
    assert found["low"] == [0.0, 0.3, 0.2]
    assert found["high"] == [0.2, 1.0, 1.0]


def test_before_its_first_known_score_a_trial_is_at_that_one():
    found = band(
        [trial([[0, 0.0, 1], [10, 0.1, 1]]), trial([[0, None, 1], [10, 0.3, 1], [20, 0.8, 1]])]
    )
    assert found["high"] == [0.3, 0.3, 0.8]


def test_a_diverged_trial_does_not_keep_what_it_had():
    curve = [[0, 0.0, 1], [10, 0.9, 1], [20, None, None]]
    found = band([trial(curve, "diverged", spent=20)])
    assert (found["x"], found["mid"]) == ([0, 10, 20], [0.0, 0.9, 0.0])
    assert band([trial([[0, None, None]], "crashed")]) is None
    assert band([{"status": "unsupported"}]) is None


def test_the_share_counts_every_trial_and_what_it_spent_of_either_kind(record):
    easy = record("easy", times=(10, 20, None, None), budget=100)
    hard = record("hard", times=(None,) * 4, budget=300)
    for trial in (*easy.trials, *hard.trials):
        trial["forward_evaluations"] = trial["gradient_evaluations"] = 50
        trial["seconds"], trial["seconds_to_target"] = 2.0, trial["evaluations_to_target"]
    found = arrivals([easy, hard])["a"]
    assert found["evaluations"] == [[0, 0], [10, 1 / 8], [20, 2 / 8], [300, 2 / 8]]
    assert found["seconds"][-1] == [20, 2 / 8]
    assert (found["n"], found["cases"], found["least"]) == (8, 2, 100)
    assert spent(easy.trials[0]) == 100
    low, high = found["interval"]
    assert (low, high) == (0, 0.5)
    shown = result(easy)
    assert shown["each"] == 0.02
    assert shown["ert"][0] == (10 + 20 + 100 + 100) / 2  # what was spent after the target is not


@pytest.mark.parametrize("n", [8, *(pytest.param(n, marks=pytest.mark.proof) for n in (12, 17))])
def test_the_shares_interval_covers_what_it_says(n):
    """Cases solved by all, none or some of five seeds: 2,000 repetitions for each chance."""
    stream, covered = np.random.default_rng(0), []
    for chance in (0.3, 0.5, 0.7):
        inside = 0
        for _ in range(2000):
            drawn = stream.random(n)
            some = np.where(drawn < chance + 0.1, stream.integers(0, 6, n) / 5, 0.0)
            shares = np.where(drawn < chance - 0.1, 1.0, some)
            low, high = share_interval(shares, resamples=400)
            inside += low <= chance <= high
        covered.append(inside / 2000)
    assert 0.93 <= np.mean(covered) <= 0.97
    assert min(covered) >= 0.91
    assert share_interval([1.0, 1.0]) == (1.0, 1.0)


def test_two_files_of_one_name_are_told_apart():
    names = distinct(["./old/opt.py:Mine", "./new/opt.py:Mine", "adam"])
    assert list(names.values()) == ["./old/opt.py:Mine", "./new/opt.py:Mine", "adam"]
    assert distinct(["./lab/opt.py:Mine", "adam"])["./lab/opt.py:Mine"] == "opt.py:Mine"


def test_a_signal_that_is_missing_has_its_reason_beside_it(record):
    one = record()
    one.informativeness = [{"probe": "snr", "evaluations": 0, "value": None, "note": "it mixes"}]
    assert "no signal: it mixes" in remarks(one)
    assert not any("signal" in remark for remark in remarks(record()))


def test_the_legend_is_a_sentence_also_where_nothing_was_timed(record):
    assert "step by perf_counter, evaluations" in legend([record()])
    assert "ms/step: median training step, evaluations excluded" in legend([record(timing={})])


def test_the_sum_of_many_counts_what_ran_and_what_was_verified(record):
    rows = tally.rows(
        [
            record("one", expectation="must"),
            record("two", expectation="must", times=(10, None), outcome="failed"),
            record("three", expectation="must", times=(), outcome="skipped"),
            record("four", expectation="never", outcome="news"),
            record("five", expectation="never", outcome="news", verification={"verified": True}),
            record("six", family="other", expectation="must", times=(), outcome="skipped"),
        ]
    )
    assert rows == [
        ["a", "flatness", "1/2", "-", "1/2", "16/17"],
        ["a", "other", "-", "-", "-", "-"],
    ]


def test_the_running_time_is_that_of_restarts():
    """A geometric number of failures before a success, by the law of total expectation."""
    value, low, high = running_time([100, 50, 100, 70], [False, True, False, True])
    failures = (1 - 0.5) / 0.5
    assert value == pytest.approx(failures * 100 + 60)
    assert low < value < high
    assert running_time([100, 100], [False, False]) is None
    assert running_time([100, 10], [False, True])[2] == math.inf
    assert running_time([10] * 4, [True] * 4) == (10, 10, 10)
    assert running_time([10, 10, 10], [True] * 3) == (10, 0, math.inf)  # too few for an interval
    assert running_time([5, 0, 0], [True, False, False])[2] == math.inf  # never 0 / 0


@pytest.mark.proof
@pytest.mark.parametrize(("n", "mean", "least"), [(5, 0.90, 0.82), (12, 0.93, 0.90)])
def test_the_running_times_interval_covers_about_what_it_says(n, mean, least):
    """Each trial solved by chance, at a uniform time: 2,000 repetitions for each chance."""
    stream, covered = np.random.default_rng(0), []
    for chance in (0.3, 0.5, 0.7, 0.9, 1.0):
        true, inside = (1 - chance) / chance * 100 + 50, []
        for _ in range(2000):
            solved = stream.random(n) < chance
            spent = np.where(solved, 100 * stream.random(n), 100)
            if found := running_time(spent, solved, resamples=400):
                inside.append(found[1] <= true <= found[2])
        covered.append(np.mean(inside))
    assert mean <= np.mean(covered) <= 0.97
    assert min(covered) >= least


def test_the_view_holds_every_cell_and_is_json(record):
    rows = [
        record("one", times=(1, 2, 3, 4, None)),
        record("one", optimizer="b"),
        record("two", times=(None,) * 5, outcome="news", verification={"verified": True}),
        record("learner", optimizer="a", expectation="learner"),
    ]
    rows[2].trials[0]["status"] = "diverged"
    seen = view(rows)
    assert [o["spec"] for o in seen["optimizers"]] == ["a", "b"]
    cases = {case["id"]: case for case in seen["cases"]}
    assert set(cases["one"]["results"]) == {"a", "b"}
    assert (cases["one"]["results"]["a"]["solved"], cases["one"]["results"]["a"]["seeds"]) == (4, 5)
    assert cases["two"]["results"]["a"]["bad"] == {"diverged": 1}
    assert cases["two"]["results"]["a"]["news"]
    rows[2].verification = {}
    assert not (claimed := view(rows)["cases"][1]["results"]["a"])["news"]
    assert claimed["claim"]
    assert set(cases["learner"]["results"]) == {""}
    assert seen["families"][0]["arrivals"]["a"]["n"] == 10  # the learner's are not among them
    json.dumps(seen)


@pytest.mark.parametrize(
    ("outcome", "expectation", "why", "said"),
    [
        ("xfailed", "never", "mechanism: theorem 1", ["unsolved by mechanism: theorem 1"]),
        (
            "xfailed",
            "may",
            "budget: solved in standard",
            ["unsolved by budget: solved in standard"],
        ),
        ("xfailed", "may", "open", []),
        ("xfailed", "may", "", []),
        ("passed", "may", "budget: solved in standard", []),
        ("news", "never", "mechanism: theorem 1", []),
    ],
)
def test_an_unsolved_case_says_what_makes_optimizers_fail(record, outcome, expectation, why, said):
    found = record("parity-d30-weight15", times=(None,) * 5, optimizer="a")
    found.outcome, found.expectation, found.why = outcome, expectation, why
    assert remarks(found) == said
    (case,) = view([found])["cases"]
    assert case["why"] == why
