"""Gradients with t-distributed noise (beyond the paper): steps that are not bounded are thrown out.

With five degrees of freedom the noise has a variance and an average helps; with one it has none.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MUST, MAY = Expectation.MUST, Expectation.MAY
BUDGET = {"quick": 500, "standard": 2000}
INFINITE = "mechanism: the noise has no variance: at any rate gradient descent's error is Cauchy's"

# degrees of freedom: presets; expectations from benchmarks/expectations-beyond*.md
RUNGS = {5: ("quick", "standard"), 2: ("standard",), 1: ("quick", "standard")}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder; the paper has no such experiment."""
    for nu, presets in RUNGS.items():
        if preset in presets:
            yield Case(
                id=f"heavytails-nu{nu}",
                scenario="gradbench.scenarios.heavy_tails:HeavyTails",
                setting={"nu": nu},
                budget=BUDGET[preset],
                batch=1,
                expectation=MUST if nu == 5 else MAY,
                why=INFINITE if nu == 1 else "open",
            )


@pytest.mark.gradbench(cases=cases)
def test_heavy_tails(attempt: Callable[[], Record]) -> None:
    """The optimizer comes within a tenth of the start's distance, and stays there."""
    attempt()
