"""A game of two players (beyond the paper): simultaneous descent turns around its solution.

With damping gradient descent comes nearer at small rates; without, it leaves at every rate.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MUST, MAY = Expectation.MUST, Expectation.MAY
TURNS = "mechanism: the gradient is at a right angle to the way to the solution"

# damping, and presets; expectations from benchmarks/expectations-beyond*.md
RUNGS = {
    "damped": (1.0, ("quick", "standard")),
    "weakly-damped": (0.1, ("standard",)),
    "undamped": (0.0, ("quick", "standard")),
}
BUDGET = {"quick": 300, "standard": 2000}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder of damping; the paper has no such experiment."""
    for name, (damping, presets) in RUNGS.items():
        if preset in presets:
            easy = (name, preset) == ("damped", "standard")
            yield Case(
                id=f"rotation-{name}",
                scenario="gradbench.scenarios.rotation:Rotation",
                setting={"damping": damping},
                budget=BUDGET[preset],
                batch=1,
                expectation=MUST if easy else MAY,
                why="open" if easy else TURNS,
            )


@pytest.mark.gradbench(cases=cases)
def test_rotation(attempt: Callable[[], Record]) -> None:
    """The optimizer comes within a tenth of the start's distance."""
    attempt()
