"""Allocation over k stocks (section 3.2): a noisy and a less noisy estimator of one gradient.

The noise of the end-to-end estimator grows with k. Its effect depends on the scale of the loss. If
the loss is multiplied by 1e-5, Adam's default eps of 1e-8 has the effect of 1e-3 on the original
loss, and Adam ends on figure 4's plateau end-to-end. On the original loss Adam solves both. (Steps
in proportion to the loss's scale, such as those of SGD, would need rates beyond the sweep for the
scaled loss.) The standard and paper presets have the script's d = 1000 situations, quick has 100.
A batch has d / 10 examples in all presets.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.paper

MAY = Expectation.MAY

SIZE = {"quick": 100, "standard": 1000, "paper": 1000}
BUDGET = {"quick": 500, "standard": 2500, "paper": 2500}
APPROACHES = ("end-to-end", "decomposition")
SMALL = 1e-5

# (k, scale) of each preset; nothing is must or never (benchmarks/expectations-*.md), and nothing
# is measured at paper size
LADDER = {
    "quick": ((100, 1.0), (100, SMALL)),
    "standard": ((10, 1.0), (100, 1.0)),
    "paper": ((10, 1.0), (1000, 1.0), (2000, 1.0)),
}


def cases(preset: str) -> Iterator[Case]:
    """Yield both approaches at each k and scale."""
    d = SIZE[preset]
    for k, scale in LADDER[preset]:
        for approach in APPROACHES:
            name = f"k{k}" if scale == 1 else "small"
            yield Case(
                id=f"allocation-{name}-{approach.replace('-', '')}",
                scenario="gradbench.scenarios.allocation:Allocation",
                setting={"approach": approach, "d": d, "k": k, "scale": scale},
                budget=BUDGET[preset] * (1 if scale == 1 else 2),
                batch=d // 10,
                expectation=MAY,
            )


@pytest.mark.gradbench(cases=cases)
def test_allocation(attempt: Callable[[], Record]) -> None:
    """The optimizer puts nearly everything on the right stock."""
    attempt()
