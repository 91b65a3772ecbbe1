"""Weights kept in few digits (beyond the paper): small steps are rounded away.

A quadratic of condition 100, whose stiff half forbids the rates that the other half would need.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MUST, MAY = Expectation.MUST, Expectation.MAY
LOST = "mechanism: an update below half a unit in the last place moves nothing"

# type of the weights: budgets by preset; expectations from benchmarks/expectations-beyond*.md
RUNGS = {
    "float32": {"quick": 500, "standard": 2000},
    "float16": {"standard": 2000},
    "bfloat16": {"quick": 400, "standard": 2000},
}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder of digits; the paper has no such experiment."""
    for kept, budgets in RUNGS.items():
        if preset in budgets:
            yield Case(
                id=f"precision-{kept}",
                scenario="gradbench.scenarios.precision:Precision",
                setting={"kept": kept},
                budget=budgets[preset],
                batch=1,
                expectation=MUST if kept == "float32" else MAY,
                why="open" if kept == "float32" else LOST,
            )


@pytest.mark.gradbench(cases=cases)
def test_precision(attempt: Callable[[], Record]) -> None:
    """The optimizer comes within a tenth of the start's distance."""
    attempt()
