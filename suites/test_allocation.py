"""Allocating over k stocks (section 3.2): a noisy estimator of a gradient, and a quiet one.

The standard and paper presets have the script's d = 1000 situations, quick has 100; a batch holds
d / 10 examples everywhere. k is the axis along which the end-to-end estimator's noise grows.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench.case import Case
from gradbench.record import Expectation, Record

MAY = Expectation.MAY

SIZE = {"quick": 100, "standard": 1000, "paper": 1000}
BUDGET = {"quick": 500, "standard": 2500, "paper": 2500}

# k: expectation end-to-end and with decomposition, from benchmarks/expectations-*.md; nothing is
# measured at paper size
LADDER = {
    "quick": {10: (MAY, MAY), 100: (MAY, MAY)},
    "standard": {10: (MAY, MAY), 100: (MAY, MAY)},
    "paper": {10: (MAY, MAY), 1000: (MAY, MAY), 2000: (MAY, MAY)},
}


def cases(preset: str) -> Iterator[Case]:
    """Yield both approaches at each k."""
    d = SIZE[preset]
    for k, expectations in LADDER[preset].items():
        for approach, expectation in zip(
            ("end-to-end", "decomposition"), expectations, strict=True
        ):
            yield Case(
                id=f"allocation-k{k}-{approach.replace('-', '')}",
                scenario="gradbench.scenarios.allocation:Allocation",
                setting={"approach": approach, "d": d, "k": k},
                budget=BUDGET[preset],
                batch=d // 10,
                expectation=expectation,
            )


@pytest.mark.gradbench(cases=cases)
def test_allocation(attempt: Callable[[], Record]) -> None:
    """The optimizer puts nearly everything on the right stock."""
    attempt()
