"""Words by Zipf's law (beyond the paper): gradient descent learns rare words last.

At 1.9 times the inverse of the largest curvature, where it is fastest, gradient descent reaches a
tenth of the loss after 15 steps for 100 words, 178 for 2,000 and 717 for 10,000 (`descent_steps`,
exactly). The budgets of 2,000 and 10,000 lie below.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MUST, MAY = Expectation.MUST, Expectation.MAY
RARE = "mechanism: gradient descent takes k steps to the k-th word, and d words share the loss"

# d: budget and expectation by preset, from benchmarks/expectations-beyond*.md
RUNGS = {
    100: {"quick": (200, MUST), "standard": (500, MUST)},
    1000: {"standard": (500, MUST)},
    2000: {"quick": (150, MAY)},
    10_000: {"standard": (500, MAY)},
}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder; the paper has no such experiment."""
    for d, presets in RUNGS.items():
        if preset in presets:
            budget, expectation = presets[preset]
            yield Case(
                id=f"zipf-d{d}",
                scenario="gradbench.scenarios.zipf:Zipf",
                setting={"d": d},
                budget=budget,
                batch=1,
                expectation=expectation,
                why="open" if expectation == MUST else RARE,
            )


@pytest.mark.gradbench(cases=cases)
def test_zipf(attempt: Callable[[], Record]) -> None:
    """The optimizer learns the frequent words and the rare ones."""
    attempt()
