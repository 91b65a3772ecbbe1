"""The baseline: what got worse fails, what did not passes, false alarms are as rare as stated."""

import functools
import json
import math

import numpy as np
import pytest

from gradbench.analysis import baseline
from gradbench.analysis.alike import NotComparableError
from gradbench.analysis.moved import moved
from gradbench.results import baseline_file

ABOUT = {"protocol": 1, "preset": "quick", "tuning": 5}


def family(record, factor=1.0, noise=0.0, seed=0, cases=6, seeds=5):
    """Records of one family whose times are so much longer, with log-normal noise."""
    stream = np.random.default_rng(seed)
    found = []
    for case in range(cases):
        times = [
            round(factor * 100 * (case + 1) * math.exp(noise * stream.standard_normal()))
            for _ in range(seeds)
        ]
        found.append(record(f"c{case}", times=times, budget=10_000))
    return found


def change(new, old):
    return baseline.change("flatness", "a", new, old, families=4)


def test_equal_trajectories_pass_without_statistics(record):
    found = change(family(record), family(record))
    assert (found.ratio, found.p, found.regressed, found.worse) == (1.0, 1.0, False, ())


def test_what_is_three_times_slower_regressed_and_faster_did_not(record):
    old = family(record, noise=0.3, seed=1)
    slow = change(family(record, 3.0, noise=0.3, seed=2), old)
    assert slow.regressed
    assert slow.ratio == pytest.approx(3, rel=0.3)
    assert len(slow.worse) == 6
    assert not change(family(record, 1 / 3, noise=0.3, seed=2), old).regressed


def test_what_is_no_longer_solved_regressed(record):
    old = [record(f"c{i}", times=(10, 20, 30, 40, 50)) for i in range(3)]
    new = [record(f"c{i}", times=(None,) * 5) for i in range(3)]
    found = change(new, old)
    assert found.regressed
    assert found.worse[0][1] == pytest.approx(
        math.exp(np.mean(np.log(100 / np.arange(10, 51, 10))))
    )


def test_one_case_that_got_worse_is_named_first(record):
    old = family(record, noise=0.05, seed=1, seeds=12)
    new = family(record, noise=0.05, seed=2, seeds=12)
    new[4] = record(
        "c4", times=[5 * t["evaluations_to_target"] for t in new[4].trials], budget=10_000
    )
    found = change(new, old)
    assert found.regressed
    assert found.worse[0][0] == "c4"


def test_a_lost_seed_never_speaks_for_not_slower(record):
    """Solved shortly before the budget's end, then not at all: the ratio cut there is near 1."""
    stream = np.random.default_rng(0)
    for seeds in (2, 4, 8, 12, 20):
        times = [int(t) for t in stream.uniform(900, 1000, seeds)]
        old, lost = (
            record("c", times=times, budget=1000),
            record("c", times=[None] * seeds, budget=1000),
        )
        found = baseline.change("flatness", "a", [lost], [old], families=8)
        assert found.p_slower == 1.0
        assert found.ratio < 1.2
        assert found.regressed == (seeds >= 12)
        assert not baseline.change("flatness", "a", [old], [lost], families=8).regressed


@pytest.mark.parametrize("slower", [1.2, pytest.param(1.5, marks=pytest.mark.proof)])
def test_what_is_slower_is_rarely_called_not_slower_however_near_the_budget_is(record, slower):
    """200 families at the very factor and beyond it, of times that the budget cuts."""
    stream = np.random.default_rng(1)

    def times(factor):
        drawn = factor * 900 * np.exp(0.1 * stream.standard_normal(20))
        return [None if t > 1000 else int(t) for t in drawn]

    found = [
        baseline.change(
            "flatness",
            "a",
            [record("c", times=times(slower), budget=1000)],
            [record("c", times=times(1.0), budget=1000)],
            families=4,
        )
        for _ in range(200)
    ]
    wrong = sum(each.p_slower <= baseline.LEVEL for each in found) / len(found)
    assert wrong <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / len(found))


@pytest.mark.proof
def test_false_alarms_of_a_whole_run_are_at_most_one_in_twenty(record):
    """Four families of unchanged behaviour, seeds of their own: 400 runs."""
    alarms = 0
    for run in range(400):
        seeds = [1000 * run + 10 * f for f in range(4)]
        alarms += any(
            change(
                family(record, noise=0.5, seed=s, cases=3),
                family(record, noise=0.5, seed=s + 1, cases=3),
            ).regressed
            for s in seeds
        )
    assert alarms / 400 < 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)
    assert alarms > 0


def test_a_baseline_is_read_as_it_was_written(tmp_path, record):
    path = tmp_path / "deep" / "adam.json"
    records = family(record, noise=0.2)
    baseline_file.write(path, ABOUT, records)
    found = baseline_file.load(path)
    assert found.about == ABOUT
    assert [r.case for r in found.of("a")] == [r.case for r in records]
    assert moved(found.of("a"), records) == []
    assert change(found.of("a"), records).p == 1.0
    assert [p.name for p in path.parent.iterdir()] == ["adam.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cases": 3}', '{"cases": [1]}', "[" * 100_000])
def test_a_file_that_is_no_baseline_is_one_line(tmp_path, text):
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(baseline_file.BaselineError, match="is no baseline") as error:
        baseline_file.load(path)
    assert len(str(error.value).splitlines()) == 1


def test_another_preset_or_protocol_is_not_comparable():
    base = baseline_file.Baseline(ABOUT, [])
    baseline.check(dict(ABOUT), base)
    for name in ABOUT:
        with pytest.raises(NotComparableError, match=f"not comparable with the baseline: {name} "):
            baseline.check(ABOUT | {name: 9}, base)


def test_new_and_missing_cases_are_named(record):
    found = baseline.strangers([record("x"), record("new")], [record("x"), record("old")])
    assert found == (["new[a]"], ["old[a]"])


# In a session

SUITE = """
import pytest
from gradbench.protocol.case import Case
from gradbench.results.record import Expectation

def cases(preset):
    for weight in (1, 2, 3):
        yield Case(
            id=f"parity-d6-weight{weight}",
            scenario="gradbench.scenarios.parity:Parity",
            setting={"d": 6, "weight": weight},
            budget=300,
            expectation=Expectation.MAY,
        )

@pytest.mark.gradbench(cases=cases)
def test_parity(attempt):
    attempt()
"""
OPTIMIZER = """
import torch

class Mine(torch.optim.SGD):
    def __init__(self, params, lr=0.3):
        super().__init__(params, lr=lr * FACTOR)
"""


@pytest.fixture
def lab(pytester):
    """A suite and an optimizer whose rate can be changed; returns a function that runs pytest."""
    pytester.makepyfile(test_suite=SUITE)

    def run(*options, factor=1.0, spec="lab.py:Mine:lr=0.3"):
        (pytester.path / "lab.py").write_text(f"FACTOR = {factor}\n{OPTIMIZER}")
        standard = ("--gb-baseline=base.json", "--gb-probes=none", f"--optimizer={spec}")
        return pytester.runpytest_inprocess(*standard, *options)

    return run


RECORDED = {}
"""Baselines that tests have recorded, by the options that chose their cases: equal each time."""


@pytest.fixture
def recorded(pytester, lab):
    """Record the lab's baseline; returns a function that takes options."""

    def record(*options):
        if options not in RECORDED:
            lab("--gb-update-baseline", *options)
            RECORDED[options] = (pytester.path / "base.json").read_text()
        (pytester.path / "base.json").write_text(RECORDED[options])

    return record


def test_a_session_writes_its_baseline_and_then_passes_against_it(pytester, lab):
    written = lab("--gb-update-baseline")
    written.stdout.fnmatch_lines(["baseline: *base.json (3 new, 0 kept)"])
    assert json.loads((pytester.path / "base.json").read_text())["preset"] == "quick"
    again = lab()
    again.assert_outcomes(passed=4)
    assert again.ret == 0
    again.stdout.fnmatch_lines(["  against the baseline: lab.py:Mine:lr=0.3 equal on 3 cases"])


def test_a_rate_off_by_a_factor_of_ten_fails_and_names_what_carries_it(lab, recorded):
    recorded()
    worse = lab(factor=0.1)
    worse.assert_outcomes(passed=2, xfailed=1, failed=1)
    assert worse.ret == 1
    worse.stdout.fnmatch_lines(["FAILED baseline::Mine-lr-0-3 - Regressed: *uninformative*"])
    assert lab("--gb-gate=record", factor=0.1).ret == 0
    assert lab("--gb-gate=baseline", factor=0.1).ret == 1
    better = lab(factor=2.0)
    better.assert_outcomes(passed=4)


def test_the_gate_changed_fails_what_no_statistic_would_and_shows_before_and_after(
    pytester, lab, recorded
):
    recorded()
    assert lab("--gb-gate=changed").ret == 0
    slightly = lab("--gb-gate=changed", factor=0.97)
    assert slightly.ret == 1
    slightly.stdout.fnmatch_lines(["FAILED baseline::Mine-lr-0-3 - Regressed: *other numbers*"])
    slightly.stdout.re_match_lines(
        [r".*: parity-d6-weight\d: solved \d/5( -> \d/5)?, evaluations \d+ -> \d+, rate 0.3"]
    )
    let_pass = lab("--gb-gate=baseline", factor=0.97)
    assert let_pass.ret == 0
    let_pass.stdout.fnmatch_lines(["*not 1.2 times slower on 3 cases, other numbers in [123]"])
    page = (pytester.path / "reports" / "latest" / "report.md").read_text()
    assert "evaluations " in page.partition("## Against what was before")[2].partition("##")[0]
    bare = pytester.runpytest_inprocess("--optimizer=adam", "--gb-gate=changed")
    assert bare.ret == 4
    bare.stderr.fnmatch_lines(["ERROR: --gb-gate=changed: say which with --gb-baseline=FILE"])


def test_what_diverges_alike_has_not_changed(pytester, lab):
    """A score that is not a number is null in a file, and equals nothing in memory."""
    of = {"spec": "sgd:lr=1e25"}
    lab("--gb-update-baseline", **of)
    again = lab("--gb-gate=changed", **of)
    assert again.ret == 0
    again.stdout.fnmatch_lines(["  against the baseline: sgd:lr=1e25 equal on 3 cases"])


def test_changed_asks_the_statistics_where_the_baseline_is_of_another_machine(
    pytester, lab, recorded
):
    recorded()
    file = pytester.path / "base.json"
    data = json.loads(file.read_text())
    file.write_text(json.dumps(data | {"cpu": "another one"}))
    slightly = lab("--gb-gate=changed", factor=0.97)
    assert slightly.ret == 0
    slightly.stdout.fnmatch_lines(
        ["baseline: the baseline was recorded with the processor another one, this run with *"]
    )
    assert lab("--gb-gate=changed", factor=0.1).ret == 1


def test_a_baseline_keeps_what_was_not_run_again(pytester, lab, recorded):
    recorded()
    partly = lab("--gb-update-baseline", "-k", "weight2")
    partly.stdout.fnmatch_lines(["baseline: *base.json (1 new, 2 kept)"])
    lab("-k", "weight2").stdout.fnmatch_lines(["baseline: in the baseline, not run: parity-d6-*"])


def test_mistakes_are_one_line_and_exit_code_4_and_no_folder_is_made(pytester, lab, recorded):
    for options, says in (
        ((), "there is no baseline *base.json; --gb-update-baseline writes one"),
        (("--gb-baseline=lab.py",), "*lab.py is no baseline*"),
    ):
        result = lab(*options)
        assert result.ret == 4
        result.stderr.fnmatch_lines([f"ERROR: {says}"])
    assert not (pytester.path / "reports").exists()
    recorded()
    result = lab("--gb-tune=0")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: not comparable with the baseline: tuning 0 here, 5 in*"])
    bare = pytester.runpytest_inprocess("--optimizer=adam", "--gb-update-baseline")
    assert bare.ret == 4
    bare.stderr.fnmatch_lines(["ERROR: --gb-update-baseline: say which with --gb-baseline=FILE"])


def test_what_cannot_be_held_against_the_baseline_is_no_pass(pytester, lab, recorded):
    recorded("-k", "weight2")
    other = lab(spec="adam:lr=0.01")
    assert other.ret == 4
    other.stderr.fnmatch_lines(["ERROR: the baseline has none of these optimizers; it has lab.py*"])
    lab("-k", "weight1").assert_outcomes(passed=1, failed=1)
    bare = pytester.runpytest_inprocess("--optimizer=adam", "--gb-gate=baseline")
    assert bare.ret == 4
    bare.stderr.fnmatch_lines(["ERROR: --gb-gate=baseline: say which with --gb-baseline=FILE"])
    beside = lab("--optimizer=adam:lr=0.01", "-rs", "-k", "weight2")
    beside.assert_outcomes(passed=3, skipped=1)
    fewer = lab("--gb-seeds=2", "-k", "weight2")
    fewer.stdout.fnmatch_lines(["  against the baseline: lab.py:Mine:lr=0.3 equal on 1 case"])


def test_what_is_undecided_is_given_the_baselines_further_seeds_then_skipped(pytester, lab, stored):
    lab("--gb-update-baseline", "--gb-seeds=10", "-k", "weight2")
    decided = lab("--gb-seeds=3", "-k", "weight2", factor=0.3)
    assert decided.ret == 1
    decided.stdout.fnmatch_lines(["  against the baseline: lab.py:Mine:lr=0.3 REGRESSED"])
    (record,) = stored(pytester.path / "reports")
    assert (record["seeds"], [t["seed"] for t in record["trials"]]) == (3, [0, 1, 2])
    bought = [t["seed"] for t in record["more_trials"]]
    ends = (5, 8, 10)  # half as many more each time, up to the baseline's ten
    assert bought in [list(range(3, end)) for end in ends]
    whole = lab("--gb-seeds=10", "-k", "weight2", "--gb-gate=record", factor=0.3)
    (apart,) = stored(pytester.path / "reports")
    for ours, theirs in zip(record["more_trials"], apart["trials"][3:], strict=False):
        assert ours["curve"] == theirs["curve"]  # as a run of ten seeds trains them
    assert whole.ret == 0
    lab("--gb-update-baseline", "--gb-seeds=4", "-k", "weight2")
    undecided = lab("--gb-seeds=3", "-k", "weight2", "-rs", factor=0.3)
    assert undecided.ret == 0
    undecided.assert_outcomes(passed=1, skipped=1)
    undecided.stdout.fnmatch_lines(
        [
            "  against the baseline: lab.py:Mine:lr=0.3 UNDECIDED",
            "SKIPPED *lab.py:Mine:lr=0.3: uninformative worse: evaluations x*",
        ]
    )
    page = (pytester.path / "reports" / "latest" / "report.md").read_text()
    assert "undecided: uninformative; record the baseline with more seeds than 4" in page


def test_a_baseline_of_other_settings_is_not_overwritten_nor_a_crash_recorded(
    pytester, lab, recorded, odd
):
    recorded("-k", "weight2")
    before = (pytester.path / "base.json").read_text()
    other = lab("--gb-update-baseline", "--gb-tune=0")
    assert other.ret == 4  # before anything is trained
    other.stderr.fnmatch_lines(["ERROR: not comparable with the baseline: tuning 0 here, 5 in*"])
    assert (pytester.path / "base.json").read_text() == before
    crashed = lab("--gb-update-baseline", "-k", "weight2", spec=f"{odd}:Raises")
    crashed.stdout.fnmatch_lines(
        [
            "baseline: *(0 new, 1 kept)",
            "baseline: left out as crashed or unsupported: parity-d6-weight2[[]*:Raises]",
        ]
    )


SLOW = """
import torch
class Slow(torch.optim.SGD):
    def step(self, closure=None):
        for _ in range(60):
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad.mul_(1.0)
        return super().step()
"""


@pytest.mark.proof
def test_a_slower_step_fails_only_where_that_was_asked_for(pytester):
    pytester.makepyfile(test_suite=SUITE)
    (pytester.path / "slow.py").write_text(SLOW)
    plain = ("--optimizer=slow.py:Slow:lr=0.3", "--gb-probes=none", "--gb-gate=record")
    assert pytester.runpytest_inprocess(*plain).ret == 0
    timed = pytester.runpytest_inprocess(*plain[:2], "--gb-time-against=sgd:lr=0.3")
    assert timed.ret == 1
    timed.stdout.fnmatch_lines(
        ["FAILED time::Slow-lr-0-3 - Regressed: slow.py:Slow:lr=0.3: a step*"]
    )
    report = (pytester.path / "reports" / "latest" / "report.md").read_text()
    assert "step time of slow.py:Slow:lr=0.3: x" in report
    let = pytester.runpytest_inprocess(*plain, "--gb-time-against=sgd:lr=0.3")
    assert let.ret == 0
    empty = pytester.runpytest_inprocess(*plain, "--gb-time-against=")
    assert empty.ret == 4
    empty.stderr.fnmatch_lines(["ERROR: --gb-time-against=: give a value, or leave the option out"])
    wrong = pytester.runpytest_inprocess(*plain, "--gb-time-against=nothing")
    assert wrong.ret == 4
    wrong.stderr.fnmatch_lines(["ERROR: *nothing*"])


@pytest.mark.proof
def test_the_gate_judges_last_whatever_orders_or_selects_the_cases(pytester, lab, recorded):
    options = ("--gb-seeds=8", "--gb-tune=0")
    lab = functools.partial(lab, *options)
    recorded(*options)
    assert lab(factor=0.1).ret == 1
    broken = lab("--lf", factor=0.1)
    assert broken.ret == 1
    broken.stdout.fnmatch_lines(["FAILED baseline::Mine-lr-0-3 - Regressed: *"])
    pytester.makeconftest("def pytest_collection_modifyitems(items):\n    items.reverse()\n")
    for order in ("--ff", "--nf"):
        repaired = lab(order)
        repaired.assert_outcomes(passed=4)
        repaired.stdout.fnmatch_lines(["*against the baseline*equal on 3 cases*"])
        assert lab(factor=0.1).ret == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("budget=300", "budget=20", "budget of parity-d6-weight* is 20 here and 300 in the*"),
        pytest.param(
            '"weight": weight',
            '"weight": 4',
            "setting of parity-d6-weight* is *",
            marks=pytest.mark.proof,
        ),
        ("d6-weight{weight}", "other{weight}", "nothing of lab.py:Mine:lr=0.3 was compared with*"),
    ],
)
def test_another_problem_of_the_same_name_is_no_improvement(
    pytester, lab, recorded, old, new, says
):
    recorded()
    pytester.makepyfile(test_suite=SUITE.replace(old, new))
    result = lab()
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"*{says}"])


def test_another_type_or_device_is_not_compared(pytester, lab, recorded):
    recorded("-k", "weight2")
    other = lab("--gb-dtype=float64", "-k", "weight2")
    assert other.ret == 4
    other.stderr.fnmatch_lines(["ERROR: *: dtype float64 here, float32 in the baseline"])
    file = pytester.path / "base.json"
    data = json.loads(file.read_text())
    data["device"]["type"] = "cuda"
    data["versions"]["torch"] = "2.0"
    file.write_text(json.dumps(data))
    assert lab("-k", "weight2").ret == 4
    data["device"]["type"] = "cpu"
    file.write_text(json.dumps(data))
    lab("-k", "weight2").stdout.fnmatch_lines(
        ["baseline: the baseline was recorded with torch 2.0, this run with *"]
    )
    for case in data["cases"]:
        for trial in case["trials"]:
            trial["seed"] += 100
    file.write_text(json.dumps(data))
    disjoint = lab("-k", "weight2")
    assert disjoint.ret == 1
    disjoint.stdout.fnmatch_lines(["*nothing of lab.py:Mine:lr=0.3 was compared with*"])


REFUSES = """
import torch

class Mine(torch.optim.SGD):
    def __init__(self, params, lr=0.3):
        params = list(params)
        if params[0].shape[1] == 6:
            raise ValueError("I do not like six inputs")
        super().__init__(params, lr=lr)
"""


def test_what_no_longer_runs_is_a_regression_and_spoils_no_baseline(pytester, lab, recorded):
    recorded("-k", "weight2")
    before = (pytester.path / "base.json").read_text()
    common = ("--gb-baseline=base.json", "--gb-probes=none", "--optimizer=lab.py:Mine:lr=0.3")
    (pytester.path / "lab.py").write_text(REFUSES)
    result = pytester.runpytest_inprocess(*common, "-k", "weight2", "--gb-gate=baseline")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*the baseline has it solved on 5 of 5 seeds*"])
    written = pytester.runpytest_inprocess(*common, "-k", "weight2", "--gb-update-baseline")
    written.stdout.fnmatch_lines(["baseline: *(0 new, 1 kept)"])
    solved = [
        json.loads(text)["cases"][0]["solved"]
        for text in (before, (pytester.path / "base.json").read_text())
    ]
    assert solved == [5, 5]


def test_a_baseline_that_cannot_be_written_fails_the_run(pytester, lab):
    (pytester.path / "base.json").mkdir()
    result = lab("--gb-update-baseline", "-k", "weight2")
    assert result.ret != 0
    (pytester.path / "base.json").rmdir()
    result = lab("--gb-update-baseline", "-k", "weight2", "--gb-baseline=/dev/null/base.json")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["baseline not written: cannot write the baseline *"])
    assert not (pytester.path / "base.json").exists()


def test_nothing_timed_is_no_pass(pytester):
    pytester.makepyfile(test_suite=SUITE)
    result = pytester.runpytest_inprocess(
        *("--optimizer=sparseadam", "--optimizer=sgd:lr=0.3", "--gb-probes=none", "--gb-tune=0"),
        *("--gb-time-against=sgd:lr=0.3", "-k", "weight2"),
    )
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED time::sparseadam - Regressed: nothing was timed: *"])
