"""Vanishing gradients and dying ReLUs (beyond section 5): the flattest start that is left.

The grid was fixed before any run: depth in doubling steps up to 20, the bias in steps of two
standard deviations up to 6. No optimizer solves depth 20, where a step costs three times as much.
The quick preset therefore has depth 6 instead of 20; standard has both 12 and 20. Only standard has
depth 2: in quick all of forty optimizers solved it, so it did not separate them.

The hardest cases solved on all five seeds, in both presets unless stated otherwise, are as follows.
Sigmoids: depth 2 for SGD, 4 for momentum, 8 for Adam, 6 for sign descent (8 in standard); none
solves 20. Dying ReLUs: bias 0 for SGD, 4 for momentum, sign descent and Adam (Adam 6 in standard,
with 2000 evaluations).
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MUST, MAY = Expectation.MUST, Expectation.MAY

BUDGET = {"quick": 500, "standard": 2000}

VANISHED = "mechanism: each layer shrinks the message by 4 or more, to 1e-14 through twenty"

# rung: expectation in the quick and the standard preset, from benchmarks/expectations-*.md
DEPTHS = {
    2: {"standard": MUST},  # in quick all of forty optimizers solve it
    4: {"quick": MAY, "standard": MAY},
    6: {"quick": MAY},
    8: {"quick": MAY, "standard": MAY},
    12: {"standard": MAY},
    20: {"standard": MAY},
}
# At 6 hardly any input of a run gives a unit a gradient, and no optimizer was expected to solve it.
# Adam, which takes a full step on its first gradient that is not zero, does so on 2 of 5 seeds in
# quick and on all in standard.
BIASES = {
    0: {"quick": MUST, "standard": MUST},
    2: {"quick": MAY, "standard": MAY},
    4: {"quick": MAY, "standard": MAY},
    6: {"quick": MAY, "standard": MAY},
}


def cases(preset: str) -> Iterator[Case]:
    """Yield both ladders; none for the paper preset, since the paper has no such experiment."""
    if preset not in BUDGET:
        return
    for axis, approach, rungs in (("depth", "sigmoid", DEPTHS), ("bias", "dying", BIASES)):
        for value, expectations in rungs.items():
            if preset not in expectations:
                continue
            yield Case(
                id=f"saturation-{approach}-{axis}{value}",
                scenario="gradbench.scenarios.saturation:Saturation",
                setting={"approach": approach, axis: value},
                budget=BUDGET[preset],
                expectation=expectations[preset],
                why=VANISHED if (axis, value) == ("depth", 20) else "open",
            )


@pytest.mark.gradbench(cases=cases)
def test_saturation(attempt: Callable[[], Record]) -> None:
    """The optimizer leaves the flat start and learns the linear function."""
    attempt()
