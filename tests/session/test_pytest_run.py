"""The tool as its user meets it: pytest on a small suite, its exit code, its output, its files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gradbench.results.record import read

ROOT = Path(__file__).parents[2]

SUITE = """
import pytest
from gradbench.protocol.case import Case
from gradbench.results.record import Expectation

def cases(preset):
    for d, weight, expectation in {ladder!r}:
        yield Case(
            id=f"parity-d{{d}}-weight{{weight}}",
            scenario="gradbench.scenarios.parity:Parity",
            setting={{"d": d, "weight": weight}},
            budget={budget},
            batch=64,
            expectation=Expectation(expectation),
        )

@pytest.mark.gradbench(cases=cases)
def test_parity(attempt):
    attempt()
"""

EASY_AND_HOPELESS = [(5, 2, "must"), (30, 15, "never")]


@pytest.fixture
def suite(pytester):
    """Write a suite and return a function that runs pytest on it."""

    def write(ladder=EASY_AND_HOPELESS, budget=40):
        pytester.makepyfile(test_suite=SUITE.format(ladder=ladder, budget=budget))

        def run(*options, **how):
            return pytester.runpytest("--gb-tune=0", "--gb-seeds=2", *options, **how)

        return run

    return write


def records(pytester):
    return read(pytester.path / "reports" / "latest" / "records.jsonl")


ADAM = "--optimizer=adam:lr=0.01"


def test_a_run_from_spec_to_files(pytester, suite):
    result = suite()(ADAM, "--optimizer=sgd:lr=0.1")
    result.assert_outcomes(passed=2, xfailed=2)
    assert result.ret == 0
    folder = pytester.path / "reports" / "latest"
    run = json.loads((folder / "run.json").read_text())
    assert run["optimizers"] == ["adam:lr=0.01", "sgd:lr=0.1"]
    assert (run["preset"], run["seeds"], run["tuning"]) == ("quick", 2, 0)
    assert run["device"]["type"]
    assert run["versions"]["torch"]
    found = records(pytester)
    assert [(r.case, r.outcome, r.solved) for r in found] == [
        ("parity-d5-weight2", "passed", 2),
        ("parity-d5-weight2", "passed", 2),
        ("parity-d30-weight15", "xfailed", 0),
        ("parity-d30-weight15", "xfailed", 0),
    ]
    assert found[0].timing["clock"] == "perf_counter"
    assert found[0].timing["seconds_per_step"]["median"] > 0
    assert [t["seed"] for t in found[0].trials] == [0, 1]
    page = (folder / "report.md").read_text()
    assert "| parity-d5-weight2   | sgd:lr=0.1   | 2/2" in page


def test_the_table_fits_a_hundred_columns(pytester, suite):
    long = "--optimizer=adam:lr=0.01,betas=(0.9,0.999),eps=1e-8,weight_decay=0.0"
    result = suite()(long, ADAM)
    begin = next(i for i, line in enumerate(result.outlines) if "gradbench: " in line)
    ours = result.outlines[begin:]
    assert max(len(line) for line in ours if "/report." not in line) <= 100
    result.stdout.fnmatch_lines(
        [
            "gradbench: adam:lr=0.01,betas=*",
            "quick preset, 2 seeds, no sweep; *",
            "  parity-d5-weight2[[]adam:lr=0.01[]] * 2/2 *passed (must)",
            "*= gradbench =*",
            "case *optimizer *solved 95 % *target *ms/step *signal *outcome",
            "parity-d30-weight15 *0/2 0-66 *>40 *xfailed (never)",
            "report: *report.md",
            "        *report.html",
        ]
    )


@pytest.mark.parametrize("columns", [80, 200])
def test_a_run_fits_the_terminal_and_says_more_in_a_wide_one(suite, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    long = "--optimizer=adam:lr=0.01,betas=(0.9,0.999),eps=1e-8,weight_decay=0.0"
    result = suite()(long)
    begin = next(i for i, line in enumerate(result.outlines) if "test_suite.py" in line)
    ours = [line for line in result.outlines[begin:] if "/report." not in line]
    table = ours[ours.index(next(line for line in ours if line.startswith("case"))) :]
    assert max(map(len, ours)) <= columns
    assert ("95 %" in table[0]) is (columns == 200)
    assert any("betas=(0.9,0.999),eps=1e-8" in line for line in ours) is (columns == 200)


def test_quiet_leaves_out_the_lines_and_the_legend(suite):
    quiet, plain = suite()("-q", ADAM), suite()(ADAM)
    for text, kept in (("  parity-d5-weight2[adam", False), ("solved: evaluation", False)):
        assert (text in plain.stdout.str(), text in quiet.stdout.str()) == (True, kept)
    quiet.stdout.fnmatch_lines(["parity-d5-weight2 * 2/2 *passed (must)"])


def test_names_of_items_are_readable_and_selectable(pytester, suite):
    run = suite()
    listed = run("--collect-only", "-q", ADAM, "--optimizer=sgd")
    assert listed.outlines[:4] == [
        "test_suite.py::parity-d5-weight2[adam-lr-0-01]",
        "test_suite.py::parity-d5-weight2[sgd]",
        "test_suite.py::parity-d30-weight15[adam-lr-0-01]",
        "test_suite.py::parity-d30-weight15[sgd]",
    ]
    assert not (pytester.path / "reports").exists()
    run(ADAM, "test_suite.py::parity-d5-weight2[adam-lr-0-01]").assert_outcomes(passed=1)
    run(ADAM, "-k", "weight2").assert_outcomes(passed=1)


def test_collecting_imports_no_torch():
    program = (
        "import sys, pytest\n"
        "code = pytest.main(['suites', '--optimizer=adam', '--collect-only', '-q'])\n"
        "assert code == 0 and 'torch' not in sys.modules, sorted(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "suites/test_parity.py::parity-d10-weight5[adam]" in done.stdout


def test_without_an_optimizer_cases_skip_and_say_how(suite):
    result = suite()()
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["gradbench: no optimizer named: *--optimizer=adam"])
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_beside_other_tests_cases_that_wait_for_an_optimizer_are_skipped(pytester, suite):
    run = suite()
    pytester.makepyfile(test_other="def test_other():\n    pass\n")
    result = run()
    result.assert_outcomes(passed=1, skipped=2)
    assert result.ret == 0


def test_a_null_optimizer_fails_a_must_as_unsolved(pytester, suite, odd):
    result = suite()(f"--optimizer={odd}:Null")
    result.assert_outcomes(failed=1, xfailed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*solved parity-d5-weight2 on 0 of 2 seeds; expected: must: *not solved: seed 0 (score *"]
    )
    assert [r.statuses for r in records(pytester)] == [["unsolved"] * 2] * 2
    assert records(pytester)[0].notes == ["parameters did not move"]


def test_a_crash_is_recorded_and_the_other_cases_still_run(pytester, suite, odd):
    result = suite()(f"--optimizer={odd}:Raises", ADAM)
    result.assert_outcomes(failed=2, passed=1, xfailed=1)
    first = records(pytester)[0]
    assert first.statuses == ["crashed", "crashed"]
    assert first.trials[0]["reason"].startswith("RuntimeError: the third step fails")
    result.stdout.fnmatch_lines(["*crashed on parity-d5-weight2 (RuntimeError: the third step*"])


def test_not_a_number_is_recorded_as_divergence(pytester, suite, odd):
    suite()(f"--optimizer={odd}:Poison").assert_outcomes(failed=1, xfailed=1)
    lines = (pytester.path / "reports/latest/records.jsonl").read_text().splitlines()
    data = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert data[0]["trials"][0]["status"] == "diverged"
    assert data[0]["trials"][0]["curve"][-1] == [1, None, None]


@pytest.mark.parametrize("name", ["Small", "SmallType", "SmallRuntime"])
def test_a_constructor_that_raises_has_crashed(pytester, suite, odd, name):
    result = suite()(f"--optimizer={odd}:{name}")
    result.assert_outcomes(failed=2)
    assert [set(r.statuses) for r in records(pytester)] == [{"crashed"}] * 2
    result.stdout.fnmatch_lines(["*crashed on parity-d5-weight2 (*Error: too large*"])


def test_a_must_that_is_refused_fails_where_nobody_has_declared_why(pytester, suite, odd):
    result = suite()(f"--optimizer={odd}:Vectors")
    result.assert_outcomes(failed=1, skipped=1)
    assert [r.outcome for r in records(pytester)] == ["failed", "skipped"]
    result.stdout.fnmatch_lines(
        ["*unsupported: it steps on matrices only*its class says why in gradbench_unsupported*"]
    )


def test_what_cannot_run_is_skipped_with_its_reason(pytester, suite, odd):
    result = suite()(f"--optimizer={odd}:DeclaredVectors", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*is unsupported: it steps on matrices only*"])
    assert [r.outcome for r in records(pytester)] == ["skipped", "skipped"]
    result.stdout.fnmatch_lines(["gradbench: nothing was attempted: every case is unsupported (*"])
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        ("nowhere.problems:Mine", "ModuleNotFoundError: No module named 'nowhere'"),
        ("mine:Absent", "AttributeError: *has no attribute 'Absent'"),
        ("mine:Half", "TypeError: Can't instantiate abstract class Half *draw_target*"),
        ("mine:Old", "TypeError: *sample() takes 3 positional arguments*"),
    ],
)
def test_a_scenario_that_cannot_be_drawn_is_one_line_and_exit_code_4(
    pytester, suite, scenario, line
):
    run = suite([(5, 2, "must")])
    file = pytester.path / "test_suite.py"
    file.write_text(file.read_text().replace("gradbench.scenarios.parity:Parity", scenario))
    pytester.makepyfile(
        mine="""
        from dataclasses import dataclass
        from gradbench.scenarios.base import Scenario
        from gradbench.scenarios.parity import Parity

        @dataclass(frozen=True)
        class Half(Scenario):
            d: int = 5
            weight: int = 2

        @dataclass(frozen=True)
        class Old(Parity):
            def sample(self, target, n):
                return None
        """
    )
    pytester.syspathinsert()
    result = run(ADAM)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: parity-d5-weight2: cannot draw {scenario}: {line}"])


def test_a_failed_must_names_the_rate_its_neighbours_and_the_seeds(pytester, suite):
    suite([(12, 6, "must")])
    result = pytester.runpytest("--gb-tune=3", "--gb-seeds=2", "--optimizer=sgd")
    (line,) = [x for x in result.outlines if x.startswith("FAILED")]
    wanted = (
        r"swept to lr [\d.e-]+ \(score -?[\d.]+\), (below|above) lr .*not solved: seed 0 \(score"
    )
    assert re.search(wanted, " ".join(result.outlines))
    assert "Unsolved" in line


def test_remarks_name_their_items(pytester, suite, odd):
    result = suite([(5, 2, "may"), (6, 2, "may")])(f"--optimizer={odd}:Null")
    result.stdout.fnmatch_lines(
        [
            "parameters did not move: parity-d5-weight2[[]odd_optimizers.py:Null[]],",
            "  parity-d6-weight2[[]odd_optimizers.py:Null[]]",
        ]
    )


def test_problems_are_in_the_run_and_in_its_records(pytester, suite):
    suite()(ADAM)
    run = json.loads((pytester.path / "reports" / "latest" / "run.json").read_text())
    assert run["problems"] == {record.case: record.problem for record in records(pytester)}
    assert all(len(problem) == 16 for problem in run["problems"].values())


def test_a_deprecation_warning_of_a_plug_in_does_not_fail_its_case(suite, odd):
    result = suite([(5, 2, "may")])(f"--optimizer={odd}:Noisy:lr=0.1")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*DeprecationWarning: noisy is deprecated", "*= 1 passed, *"])


def test_an_unsolved_may_is_expected_to_fail(suite):
    suite([(30, 15, "may")])(ADAM).assert_outcomes(xfailed=1)


@pytest.mark.proof
def test_news_is_shown_in_a_section_and_is_no_failure(suite):
    result = suite([(5, 2, "never")])(ADAM)
    result.assert_outcomes(xpassed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*= NEWS =*", "adam:lr=0.01 solved parity-d5-weight2 on 2 of 2*"])


@pytest.mark.parametrize(
    ("gate", "name", "expectation", "code"),
    [
        ("record", "Null", "must", 0),
        ("record", "Raises", "must", 0),
        ("expect", "Null", "must", 1),
        ("expect", "Null", "may", 0),
        ("strict", "Null", "must", 1),
        pytest.param("strict", None, "never", 1, marks=pytest.mark.proof),
        pytest.param("expect", None, "never", 0, marks=pytest.mark.proof),
    ],
)
def test_gates_and_exit_codes(suite, odd, gate, name, expectation, code):
    spec = ADAM if name is None else f"--optimizer={odd}:{name}"
    assert suite([(5, 2, expectation)])(spec, f"--gb-gate={gate}").ret == code


def test_runxfail_shows_what_was_expected_to_fail(suite):
    assert suite([(30, 15, "never")])(ADAM, "--runxfail").ret == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--optimizer=adm"], "unknown optimizer 'adm'; did you mean adam"),
        (["--optimizer=nowhere.to.be:Found"], "cannot import nowhere.to.be"),
        (["--optimizer=torch.nn:Linear"], "Linear is no torch.optim.Optimizer subclass"),
        (["--optimizer=adam:rate=1"], "adam has no argument 'rate'"),
        (["--optimizer=adam:lr=fast"], "the value of lr is no Python literal: fast"),
        ([ADAM, "--gb-preset=quik"], "--gb-preset=quik: choose from quick, standard, paper"),
        (
            [ADAM, "--gb-gate=none"],
            "--gb-gate=none: choose from record, expect, baseline, changed, strict",
        ),
        ([ADAM, "--gb-seeds=0"], "--gb-seeds=0: give a whole number from 1 on"),
        ([ADAM, "--gb-tune=-1"], "--gb-tune=-1: give a whole number from 0 on"),
        ([ADAM, "--gb-dtype=int8"], "--gb-dtype=int8: choose from float32"),
        ([ADAM, "--gb-device=warp"], "cannot use device 'warp'"),
        ([ADAM, "--gb-report-dir=taken"], "cannot write reports under"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_4(pytester, suite, options, says):
    run = suite()
    (pytester.path / "taken").write_text("a file, not a folder")
    result = run(*options)
    assert result.ret == 4
    errors = [line for line in result.errlines if line.strip()]
    assert len(errors) == 1
    assert says in errors[0]
    assert not (pytester.path / "reports").exists()


def test_the_resolution_of_names_waits_for_a_case_to_run(suite):
    assert suite()("--optimizer=adm", "--collect-only").ret == 0


def test_ini_twins(pytester, suite):
    pytester.makeini("[pytest]\ngb_optimizer =\n    adam:lr=0.01\ngb_gate = record\n")
    result = suite()("-k", "weight2")
    result.assert_outcomes(passed=1)
    assert json.loads((pytester.path / "reports/latest/run.json").read_text())["gate"] == "record"


def test_an_interruption_leaves_the_table_and_valid_files(pytester, suite):
    pytester.makeconftest(
        "import pytest\n"
        "def pytest_runtest_setup(item):\n"
        "    if 'd30' in item.name:\n"
        "        raise KeyboardInterrupt\n"
    )
    result = suite()(ADAM, no_reraise_ctrlc=True)
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*= gradbench =*", "parity-d5-weight2 *passed (must)"])
    result.stdout.fnmatch_lines(["interrupted: --gb-resume goes on with what is left"])
    assert [r.case for r in records(pytester)] == ["parity-d5-weight2"]
    assert "parity-d5-weight2" in (pytester.path / "reports/latest/report.md").read_text()


def test_runs_do_not_overwrite_each_other(pytester, suite):
    run = suite([(5, 2, "must")])
    for _ in range(3):
        run(ADAM)
    folders = [p for p in (pytester.path / "reports").iterdir() if not p.is_symlink()]
    assert len(folders) == 3
    assert all(len(read(p / "records.jsonl")) == 1 for p in folders)


def test_curves_are_the_same_bits_alone_and_beside_others_in_any_order(pytester, suite):
    run = suite([(5, 2, "must"), (6, 3, "may"), (8, 4, "may")])

    def curves(*options):
        run(*options)
        return {(r.case, r.optimizer): [t["curve"] for t in r.trials] for r in records(pytester)}

    other = "--optimizer=sgd:lr=0.1"
    both = curves(ADAM, other)
    assert len(both) == 6
    for key, curve in {**curves(other, ADAM), **curves(ADAM, "-k", "d8")}.items():
        assert both[key] == curve


def test_the_sweep_is_recorded_and_chooses(pytester, suite):
    suite([(5, 2, "must")], budget=60)("--optimizer=sgd", "--gb-tune=3")
    (record,) = records(pytester)
    first = [point for point in record.tuning if point["seed"] == -1]
    rates = [point["lr"] for point in first]
    assert rates == [1e-3, 1e-2, 1e-4, 0.1, 1.0, 10.0]  # on from the edge until 10 is no better
    again = record.tuning[len(first) :]
    assert [point["seed"] for point in again] == [-2, -3] * 2
    solved = sorted(
        (p for p in first if p["status"] == "solved"), key=lambda p: p["evaluations_to_target"]
    )
    assert {point["lr"] for point in again} == {point["lr"] for point in solved[:2]}
    assert record.hyperparameters["lr"] in {0.1, 1.0}
    assert record.notes == []


def test_a_fixed_rate_and_the_papers_optimizer_are_not_tuned(pytester, suite):
    suite([(5, 2, "may")])("--optimizer=paper", ADAM, "--gb-tune=3")
    paper, adam = records(pytester)
    assert (paper.tuning, adam.tuning) == ([], [])
    assert (paper.optimizer, paper.hyperparameters) == ("paper", {"lr": 0.01})


def test_a_dry_run_counts_and_runs_nothing(pytester, suite):
    result = suite()(ADAM, "--optimizer=sgd", "--gb-dry-run", "--gb-tune=5")
    result.stdout.fnmatch_lines(
        [
            "parity-d5-weight2[[]adam-lr-0-01[]] * 88 * s",
            "parity-d5-weight2[[]sgd[]] * 488 * s",
            "at most; time of one case after another here * 1,152 * s",
        ]
    )
    assert not (pytester.path / "reports").exists()


def test_a_dry_run_needs_no_terminal_reporter(suite, capfd):
    assert suite()(ADAM, "--gb-dry-run", "-p", "no:terminal").ret == 0


def test_a_dry_run_takes_the_seconds_of_earlier_runs(pytester, suite):
    run = suite()
    run(ADAM)
    for record, name in zip(records(pytester), ("weight2", "weight15"), strict=True):
        assert name in record.case
    file = pytester.path / "reports" / "latest" / "records.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["timing"]["case_seconds"] = 40.0
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = run(ADAM, "--gb-dry-run")
    again.stdout.fnmatch_lines(
        [
            "parity-d5-weight2[[]adam-lr-0-01[]] * 40 s",
            "at most; time of one case after another here * 80 s",
            "the time of 2 of 2 is what it took in earlier runs",
        ]
    )
    twice = run(ADAM, "--gb-dry-run", "--gb-seeds=4", "--gb-probes=none")
    twice.stdout.fnmatch_lines(["parity-d5-weight2[[]adam-lr-0-01[]] * 80 s"])
    other = run(ADAM, "--gb-dry-run", "--gb-dtype=float64")
    assert "earlier runs" not in other.stdout.str()


def test_the_benchmark_json_holds_the_measured_step_times(pytester, suite):
    suite([(5, 2, "must")])(ADAM, "--benchmark-json=out.json")
    (entry,) = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    assert entry["name"] == "parity-d5-weight2[adam-lr-0-01]"
    (record,) = records(pytester)
    measured = entry["stats"]["data"]  # a round is a block of steps, divided by their number
    assert len(set(measured)) > 1
    assert min(measured) <= record.timing["seconds_per_step"]["median"] <= max(measured)


def test_benchmark_compare_works_between_two_runs(suite):
    run = suite([(5, 2, "must")])
    run(ADAM, "--benchmark-save=one").assert_outcomes(passed=1)
    result = run(ADAM, "--benchmark-compare", "--benchmark-compare-fail=median:100000%")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*parity-d5-weight2[[]adam-lr-0-01[]] (NOW)*"])
    assert "machine_info is different" not in result.stdout.str() + result.stderr.str()


def test_benchmarks_table_is_not_shown_unasked(suite):
    assert "benchmark '" not in suite([(5, 2, "must")])(ADAM).stdout.str()


def test_two_cases_of_one_name_are_an_error(pytester, suite):
    run = suite([(5, 2, "must")])
    pytester.makepyfile(test_other=SUITE.format(ladder=[(5, 2, "may")], budget=40))
    result = run(ADAM)
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["ERROR: two cases are called parity-d5-weight2*: in test_other.py and test_suite.py"]
    )


def test_the_last_failures_can_be_rerun(suite):
    run = suite([(5, 2, "must"), (30, 15, "must")])
    run(ADAM).assert_outcomes(passed=1, failed=1)
    result = run(ADAM, "--lf")
    result.assert_outcomes(failed=1)
    assert "parity-d5" not in result.stdout.str()


def test_a_run_is_not_split_over_workers(pytester, suite):
    run = suite()
    pytest.importorskip("xdist")
    for options in (["--numprocesses=2"], ["--dist=load", "--tx=2*popen"]):
        result = run(ADAM, *options)
        assert result.ret == 4
        result.stderr.fnmatch_lines(["ERROR: gradbench runs its cases in one pytest process*"])
    assert run(ADAM, "--dist=loadscope", "--collect-only", "-p", "no:benchmark").ret == 0


def test_without_pytest_benchmark_the_cases_still_run(suite):
    suite([(5, 2, "must")])(ADAM, "-p", "no:benchmark").assert_outcomes(passed=1)


def test_the_benchmarks_of_others_keep_their_table(pytester):
    pytester.makepyfile("def test_sum(benchmark):\n    benchmark(sum, [1, 2])\n")
    result = pytester.runpytest("--benchmark-max-time=0.001")
    result.stdout.fnmatch_lines(["*benchmark: 1 tests*", "*test_sum*"])


def test_a_suite_without_cases_says_what_to_write(pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.gradbench\ndef test_x(attempt): attempt()\n")
    result = pytester.runpytest(ADAM)
    result.stdout.fnmatch_lines(["*write @pytest.mark.gradbench(cases=function_of_the_preset)*"])


def test_a_dry_run_says_what_cannot_run(suite, odd):
    run = suite([(5, 2, "must")])
    result = run(f"--optimizer={odd}:Raises", f"--optimizer={odd}:Vectors", "--gb-dry-run")
    result.stdout.fnmatch_lines(
        ["*[[]Raises[]]*crashed: RuntimeError: the third*", "*[[]Vectors[]]*unsupported: *"]
    )
    run("--gb-dry-run").stdout.fnmatch_lines(["no optimizer named: *"])


def test_the_short_summary_shows_the_message(suite, odd):
    result = suite([(5, 2, "must")])(f"--optimizer={odd}:Null")
    result.stdout.fnmatch_lines(["FAILED test_suite.py::parity-d5-weight2[[]Null[]] - Unsolved: *"])


def test_the_paper_trained_nothing_on_some_cases(pytester):
    pytester.makepyfile(
        SUITE.format(ladder=[], budget=1).replace(
            "for d,",
            "yield Case(id='periodic', scenario="
            "'gradbench.scenarios.periodic:Periodic', setting={'d': 2, 'r': 1.0}, budget=5,"
            " expectation=Expectation.MAY)\n    for d,",
        )
    )
    result = pytester.runpytest("--optimizer=paper", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "  periodic[[]paper[]] * - *skipped (may)",
            "periodic * - * - * - *skipped (may)",
            "SKIPPED *unsupported: the paper trained nothing here",
        ]
    )


def test_plain_tests_beside_a_suite_are_left_alone(pytester):
    pytester.makepyfile("def test_plain():\n    assert True\n")
    result = pytester.runpytest(ADAM)
    result.assert_outcomes(passed=1)
    assert not (pytester.path / "reports").exists()


LEARNER_SUITE = SUITE.format(ladder=[(5, 2, "must")], budget=100).replace(
    "for d,",
    "yield Case(id='parity-d9-elimination', scenario='gradbench.scenarios.parity:Parity',"
    " setting={'d': 9, 'weight': 4, 'approach': 'elimination'}, budget=5,"
    " expectation=Expectation.LEARNER)\n    for d,",
)


def test_a_learner_runs_once_whatever_optimizers_run_beside_it(pytester):
    pytester.makepyfile(test_suite=LEARNER_SUITE)
    options = ("--optimizer=sgd:lr=1.0", ADAM, "--gb-seeds=2")
    result = pytester.runpytest(*options)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "  parity-d9-elimination  *2/2 *passed",
            "*parity-d9-elimination *none*",
        ]
    )
    learner = records(pytester)[0]
    assert (learner.optimizer, learner.expectation, learner.solved) == ("none", "learner", 2)
    assert (learner.approach, learner.hyperparameters, learner.tuning) == ("elimination", {}, [])
    assert {t["gradient_evaluations"] for t in learner.trials} == {0}
    dry = pytester.runpytest(*options, "--gb-dry-run")
    dry.stdout.fnmatch_lines(
        ["parity-d9-elimination  *10 *", "parity-d5-weight2[[]sgd-lr-1-0[]] *"]
    )
    pytester.runpytest().assert_outcomes(skipped=2)


def test_a_learner_that_fails_is_no_failure_of_an_optimizer(pytester):
    suite = LEARNER_SUITE.replace("budget=5,", "budget=5, batch=1,")
    pytester.makepyfile(test_suite=suite)
    result = pytester.runpytest(ADAM, "--gb-seeds=2", "-rx")
    result.assert_outcomes(passed=1, xfailed=1)
    result.stdout.fnmatch_lines(["XFAILED *parity-d9-elimination - expected: learner"])


@pytest.mark.proof
def test_claims_wait_to_be_asked_for_and_others_marker_is_theirs(pytester):
    def collected(*options):
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout

    assert "test_claims" not in collected("suites")
    assert "test_parity" not in collected("suites", "-m", "claim")
    assert "test_claims" in collected("suites", "-m", "claim")
    one = "suites/test_claims.py::test_5_the_direct_gradient_is_zero"
    assert one in collected(one)
    pytester.makepyfile("import pytest\n@pytest.mark.claim\ndef test_claim(): pass")
    pytester.runpytest().assert_outcomes(passed=1)


def test_an_architecture_is_a_contestant_of_its_own(pytester, suite):
    (pytester.path / "net.py").write_text(
        "import torch\n"
        "def make(input_shape, output_size, width=8):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(*input_shape, width), torch.nn.ReLU(),\n"
        "                               torch.nn.Linear(width, output_size))\n"
    )
    networks = ["paper", "./net.py:make:width=16"]
    run = suite(ladder=[(5, 2, "must")])
    result = run(ADAM, *(f"--architecture={spec}" for spec in networks), "-v")
    result.stdout.fnmatch_lines(
        [
            "*::parity-d5-weight2[[]adam-lr-0-01[]]*",
            "*::parity-d5-weight2[[]adam-lr-0-01-make-width-16[]]*",
        ]
    )
    result.stdout.fnmatch_lines(
        [
            "gradbench: adam:lr=0.01 on paper, ./net.py:make:width=16",
            "*adam:lr=0.01 *width=16 *(may)*",
        ]
    )
    kept = records(pytester)
    assert [(r.optimizer, r.architecture) for r in kept] == [
        ("adam:lr=0.01", None),
        ("adam:lr=0.01", "./net.py:make:width=16"),
    ]
    assert [r.expectation for r in kept] == ["must", "may"]
    about = json.loads((pytester.path / "reports/latest/run.json").read_text())
    assert about["architectures"] == networks


def test_an_architecture_is_held_against_its_own_baseline(pytester, suite):
    run = suite(ladder=[(5, 2, "must")])
    given = (ADAM, "--architecture=mlp:width=16", "--gb-baseline=base.json")
    assert run(*given, "--gb-update-baseline").ret == 0
    result = run(*given)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*against the baseline: adam:lr=0.01 on mlp:width=16*"])
    assert run(ADAM, "--gb-baseline=base.json").ret == 4


@pytest.mark.parametrize(
    ("spec", "told"),
    [("nosuch", "*unknown architecture 'nosuch'*"), ("mlp:widht=1", "*unexpected keyword*")],
)
def test_a_wrong_architecture_is_one_line(pytester, suite, spec, told):
    result = suite()(ADAM, f"--architecture={spec}")
    assert result.ret == 4
    result.stderr.fnmatch_lines([told])


def test_contestants_whose_names_would_be_alike_all_run(pytester, suite):
    (pytester.path / "net.py").write_text(
        "import torch\n"
        "def linear(input_shape, output_size):\n"
        "    return torch.nn.Linear(*input_shape, output_size)\n"
        "def wrong(input_shape, output_size):\n"
        "    return undefined\n"
    )
    networks = ["paper", "./net.py:linear", "./net.py:wrong"]
    given = [f"--architecture={spec}" for spec in networks]
    result = suite(ladder=[(5, 2, "may")])("--optimizer=sgd", "--optimizer=sgd+linear", *given)
    kept = records(pytester)
    assert len({(r.optimizer, r.architecture) for r in kept}) == len(kept) == 6
    result.stdout.fnmatch_lines(["*sgd on net.py:linear*", "*NameError*"])
