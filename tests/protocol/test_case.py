import re
from pathlib import Path

import pytest

from gradbench.protocol.case import Case
from gradbench.protocol.discovery import cases, suites
from gradbench.results.record import Expectation
from gradbench.session.declared_options import PRESETS

GOOD = {
    "id": "parity-d5-weight2",
    "scenario": "gradbench.scenarios.parity:Parity",
    "setting": {"d": 5, "weight": 2},
    "budget": 10,
    "expectation": Expectation.MUST,
}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"id": "parity_d=5"}, "letters, digits and hyphens"),
        ({"budget": 0}, "at least 1"),
        ({"batch": 0}, "at least 1"),
        ({"target_score": 0.0}, "above 0"),
        ({"target_score": 1.5}, "above 0"),
        ({"why": "because"}, "why is open, or mechanism: ... or budget: ..., not 'because'"),
        ({"why": "mechanism"}, "why is open"),
        ({"why": "open: nobody knows"}, "why is open"),
    ],
)
def test_a_wrong_case_says_what_is_wrong(wrong, says):
    with pytest.raises(ValueError, match=says):
        Case(**(GOOD | wrong))


def test_a_mistyped_axis_is_an_error():
    with pytest.raises(ValueError, match="Parity has no field wieght"):
        Case(**(GOOD | {"setting": {"d": 5, "wieght": 2}})).build()


@pytest.mark.parametrize("preset", PRESETS)
def test_distinct_ids_are_distinct_problems(preset):
    built = [(case.id, case.build()) for case in cases([suites()], preset)]
    assert len({case_id for case_id, _ in built}) == len(built)
    assert len({scenario for _, scenario in built}) == len(built)


def test_an_id_means_the_same_scenario_and_approach_in_every_preset():
    meant = {}
    for preset in PRESETS:
        for case in cases([suites()], preset):
            problem = (case.scenario, case.setting.get("approach"))
            assert meant.setdefault(case.id, problem) == problem


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_never_solved_has_a_mechanism(preset):
    for case in cases([suites()], preset):
        if case.expectation is Expectation.NEVER:
            assert case.why.startswith("mechanism: "), case.id


def test_every_quick_case_that_all_four_fail_has_a_mechanism():
    """As the tables of expectations have them: a case that is in neither has none."""
    folder = Path(__file__).parents[2] / "benchmarks"
    pages = [(folder / f"expectations-{name}.md").read_text() for name in ("quick", "beyond")]
    solved = {}
    for line in "\n".join(pages).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and re.match(r"\d+/\d+ at", cells[2]):
            solved[cells[0]] = sum(int(cell.split("/")[0]) for cell in cells[2:6])
    quick = {case.id: case for case in cases([suites()], "quick") if case.takes_optimizer}
    assert set(quick) == set(solved)
    failed = [case for case in quick.values() if solved[case.id] == 0]
    assert failed
    for case in failed:
        assert case.why.startswith("mechanism: "), case.id


def test_no_mechanism_is_claimed_of_what_a_must_asks():
    for preset in PRESETS:
        for case in cases([suites()], preset):
            if case.expectation is Expectation.MUST:
                assert case.why == "open"


def test_the_readmes_run_is_of_the_quick_presets_cases():
    page = (Path(__file__).parents[2] / "README.md").read_text()
    shown = re.findall(r"^([a-z0-9-]+) +(?:adam|none) +\d/5", page, re.MULTILINE)
    assert len(shown) >= 8
    assert set(shown) <= {case.id for case in cases([suites()], "quick")}
