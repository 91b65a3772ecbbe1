"""Linear-periodic functions (theorem 2): gradients that vanish with frequency and dimension.

The ladder climbs in r and d; at r = 1 the wave is slow enough to be learned by all, at r = 6 in 20
dimensions its gradient is below anything that a run can resolve.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench.case import Case
from gradbench.record import Expectation, Record

MUST, MAY, NEVER = Expectation.MUST, Expectation.MAY, Expectation.NEVER

# (d, r, wave): expectation, from benchmarks/expectations-quick.md
LADDER = {
    (5, 1, "cosine"): MUST,
    (5, 2, "cosine"): MAY,
    (10, 2, "cosine"): MAY,
    (10, 2, "square"): MAY,
    (10, 4, "cosine"): MAY,
    (20, 6, "cosine"): NEVER,
}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder; the paper trains nothing here, so it has no preset of its own."""
    if preset != "quick":
        return
    for (d, r, wave), expectation in LADDER.items():
        yield Case(
            id=f"periodic-d{d}-r{r}" + ("-square" if wave == "square" else ""),
            scenario="gradbench.scenarios.periodic:Periodic",
            setting={"d": d, "r": float(r), "wave": wave},
            budget=600,
            expectation=expectation,
        )


@pytest.mark.gradbench(cases=cases)
def test_periodic(attempt: Callable[[], Record]) -> None:
    """The optimizer learns the wave."""
    attempt()
