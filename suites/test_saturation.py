"""Vanishing and dying (beyond section 5): how flat a start an optimizer still leaves.

The grid was fixed before anything was run: depth in doubling steps up to 20, the bias every two
standard deviations up to 6. (Only the budget at depth 20 was halved, to bound a trial's time.)
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench.case import Case
from gradbench.record import Expectation, Record

MUST, MAY = Expectation.MUST, Expectation.MAY

# expectations from benchmarks/expectations-quick.md
DEPTHS = {2: MUST, 4: MAY, 8: MAY, 20: MAY}
# At 6 hardly any input of a run moves a unit, and none was thought to get out: Adam did on 3 seeds
# of 5, whose first gradient that is not zero is a whole step.
BIASES = {0: MUST, 2: MAY, 4: MAY, 6: MAY}


def cases(preset: str) -> Iterator[Case]:
    """Yield both ladders; the paper has no such experiment."""
    if preset != "quick":
        return
    for axis, approach, rungs in (("depth", "sigmoid", DEPTHS), ("bias", "dying", BIASES)):
        for value, expectation in rungs.items():
            yield Case(
                id=f"saturation-{approach}-{axis}{value}",
                scenario="gradbench.scenarios.saturation:Saturation",
                setting={"approach": approach, axis: value},
                budget=300 if value == 20 else 600,  # a step of 20 layers costs as much as three
                expectation=expectation,
            )


@pytest.mark.gradbench(cases=cases)
def test_saturation(attempt: Callable[[], Record]) -> None:
    """The optimizer leaves the flat start and learns the linear function."""
    attempt()
