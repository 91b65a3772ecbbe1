"""Where the mark of cases may stand, and what is said where it may not."""

import pytest

SUITE = """
import unittest
import pytest
from gradbench import Case, Expectation

def cases_of(name):
    def cases(preset):
        yield Case(
            id=name, scenario="gradbench.scenarios.parity:Parity", setting={"d": 4, "weight": 2},
            budget=20, batch=16, expectation=Expectation.MAY,
        )
    return cases
"""
ON_A_MODULE = """
pytestmark = pytest.mark.gradbench(cases=cases_of("module"))

def test_case(attempt):
    attempt()

def test_plain():
    pass

def helper(attempt):
    raise AssertionError
"""
ON_A_CLASS = """
@pytest.mark.gradbench(cases=cases_of("class"))
class TestMine:
    seen = "self is the instance"

    def test_case(self, attempt):
        assert self.seen
        attempt()

    def test_plain(self):
        pass
"""
ON_A_METHOD = """
class TestMine:
    @pytest.mark.gradbench(cases=cases_of("method"))
    def test_case(self, attempt):
        attempt()

    class TestWithin:
        @pytest.mark.gradbench(cases=cases_of("within"))
        def test_case(self, attempt):
            attempt()
"""
PARAMETERS = "*a function with cases takes its parameters from them*"
REFUSED = {
    """
@pytest.mark.gradbench(cases=cases_of("a"))
@pytest.mark.parametrize("x", [1, 2])
def test_case(attempt, x):
    attempt()
""": PARAMETERS,
    """
@pytest.mark.parametrize("x", [1, 2])
class TestMine:
    @pytest.mark.gradbench(cases=cases_of("a"))
    def test_case(self, attempt, x):
        attempt()
""": PARAMETERS,
    """
@pytest.fixture(params=[1, 2])
def x(request):
    return request.param

@pytest.mark.gradbench(cases=cases_of("a"))
def test_case(attempt, x):
    attempt()
""": PARAMETERS,
    """
class TestMine(unittest.TestCase):
    @pytest.mark.gradbench(cases=cases_of("a"))
    def test_case(self, attempt):
        attempt()
""": "*a method of unittest.TestCase takes no fixtures: use a plain class*",
    """
@pytest.mark.gradbench(cases=cases_of("a"))
def test_case():
    pass
""": "*a function with cases takes the fixture attempt, and calls it*",
    """
@pytest.mark.gradbench
def test_case(attempt):
    attempt()
""": "*write @pytest.mark.gradbench(cases=function_of_the_preset)*",
}
OPTIONS = ("--optimizer=adam:lr=0.01", "--gb-seeds=1", "--gb-probes=none", "--gb-engine=inline")


@pytest.mark.parametrize(
    ("text", "passed", "names"),
    [
        (ON_A_MODULE, 2, {"module"}),
        (ON_A_CLASS, 2, {"class"}),
        (ON_A_METHOD, 2, {"method", "within"}),
    ],
)
def test_the_mark_may_stand_on_a_module_a_class_or_a_method(pytester, stored, text, passed, names):
    pytester.makepyfile(test_suite=SUITE + text)
    result = pytester.runpytest_inprocess(*OPTIONS, "--gb-gate=record")
    counts = result.parseoutcomes()
    assert counts.get("passed", 0) + counts.get("xfailed", 0) == passed
    assert {record["case"] for record in stored(pytester.path / "reports")} == names


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_a_case_is_refused_at_collection_in_one_line(pytester, text):
    pytester.makepyfile(test_suite=SUITE + text)
    result = pytester.runpytest_inprocess(*OPTIONS)
    assert result.ret in {2, 4}
    lines = result.stdout if result.ret == 2 else result.stderr
    lines.fnmatch_lines([REFUSED[text]])


def test_a_function_that_never_attempts_is_no_pass(pytester):
    pytester.makepyfile(test_suite=SUITE + ON_A_MODULE.replace("    attempt()", "    pass", 1))
    result = pytester.runpytest_inprocess(*OPTIONS)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*its function never called attempt()*"])
