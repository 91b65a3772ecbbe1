"""A product of k weights (beyond the paper): gradient descent needs exponentially many steps in k.

At depth 5 the four standard optimizers leave 2 of 400 trials on the plateau; at 20 gradient descent
solves 3 of 100 seeds, momentum 5, sign descent 70 and Adam 98. Standard is not measured over 100.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MUST, MAY = Expectation.MUST, Expectation.MAY
SMALL = "mechanism: each gradient is multiplied by the other weights' product, exponentially small"

# k: budgets by preset; expectations from benchmarks/expectations-beyond*.md
RUNGS = {
    5: {"quick": 200, "standard": 5000},
    10: {"standard": 5000},
    20: {"quick": 160, "standard": 5000},
}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder; the paper has no such experiment."""
    for k, budgets in RUNGS.items():
        if preset in budgets:
            easy = (k, preset) == (5, "standard")
            yield Case(
                id=f"chain-k{k}",
                scenario="gradbench.scenarios.chain:Chain",
                setting={"k": k},
                budget=budgets[preset],
                batch=1,
                target_score=0.99,
                expectation=MUST if easy else MAY,
                why="open" if easy else SMALL,
            )


@pytest.mark.gradbench(cases=cases)
def test_chain(attempt: Callable[[], Record]) -> None:
    """The optimizer brings the product to 1."""
    attempt()
