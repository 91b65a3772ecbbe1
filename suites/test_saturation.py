"""Vanishing and dying (beyond section 5): how flat a start an optimizer still leaves.

The grid was fixed before anything was run: depth in doubling steps up to 20, the bias every two
standard deviations up to 6. Since nobody passes depth 20, where a step costs as much as three, the
quick preset has depth 6 in its place, and standard 12 beside it. Depth 2 is of standard alone: in
quick forty optimizers of forty solved it, so that it told nothing of any.

Where each passed on all five seeds, in quick and standard alike but where stated: sigmoids, SGD
to depth 2, momentum to 4, Adam to 8, sign descent to 4, in standard to 8. At 20 there is no band:
nobody passed. Dying ReLUs: SGD at 0 only, momentum and sign descent to 4, Adam to 4, in standard
(2000 evaluations) to 6.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

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
# At 6 hardly any input of a run moves a unit, and none was thought to get out: Adam, whose first
# gradient that is not zero is a whole step, does on 2 seeds of 5 in quick and on all in standard.
BIASES = {
    0: {"quick": MUST, "standard": MUST},
    2: {"quick": MAY, "standard": MAY},
    4: {"quick": MAY, "standard": MAY},
    6: {"quick": MAY, "standard": MAY},
}


def cases(preset: str) -> Iterator[Case]:
    """Yield both ladders; the paper has no such experiment."""
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
