"""Gradients that are some steps old (beyond the paper): large rates become unstable.

A quadratic of condition 10, so that a small rate is slow on its flat half.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MUST, MAY = Expectation.MUST, Expectation.MAY
LATE = "mechanism: the largest stable rate falls as one over the delay"

# steps of delay: presets; expectations from benchmarks/expectations-beyond*.md
RUNGS = {
    1: ("standard",),
    4: ("quick", "standard"),
    16: ("quick", "standard"),
    64: ("standard",),
}
BUDGET = {"quick": 400, "standard": 2000}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder of delays; the paper has no such experiment."""
    for delay, presets in RUNGS.items():
        if preset in presets:
            easy = (delay, preset) == (4, "standard")
            yield Case(
                id=f"delay-t{delay}",
                scenario="gradbench.scenarios.delay:Delay",
                setting={"delay": delay},
                budget=BUDGET[preset],
                batch=1,
                expectation=MUST if easy else MAY,
                why="open" if easy else LATE,
            )


@pytest.mark.gradbench(cases=cases)
def test_delay(attempt: Callable[[], Record]) -> None:
    """The optimizer comes within a tenth of the start's distance."""
    attempt()
