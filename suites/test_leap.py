"""Staircase and leap of three bits (beyond the paper): steps grow as d^max(leap - 1, 1)."""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MUST, MAY = Expectation.MUST, Expectation.MAY
LEAP = "mechanism: a leap of three variables takes some d^2 steps, a staircase d"

# (approach, d): budget by preset; expectations from benchmarks/expectations-beyond*.md
RUNGS = {
    ("staircase", 15): {"standard": 2000},
    ("staircase", 30): {"quick": 300, "standard": 2000},
    ("staircase", 60): {"standard": 2000},
    ("leap", 15): {"standard": 2000},
    ("leap", 30): {"quick": 300, "standard": 2000},
    ("leap", 60): {"standard": 2000},
}


def cases(preset: str) -> Iterator[Case]:
    """Yield both functions; the paper has no such experiment."""
    for (approach, d), budgets in RUNGS.items():
        if preset in budgets:
            yield Case(
                id=f"{approach}-d{d}",
                scenario="gradbench.scenarios.leap:Leap",
                setting={"approach": approach, "d": d},
                budget=budgets[preset],
                expectation=MUST if (approach, preset) == ("staircase", "standard") else MAY,
                why=LEAP if approach == "leap" else "open",
            )


@pytest.mark.gradbench(cases=cases)
def test_leap(attempt: Callable[[], Record]) -> None:
    """The optimizer learns the function of three bits."""
    attempt()
