"""Allocating over k stocks (section 3.2): a noisy estimator of a gradient, and a quiet one.

The quick preset has d = 100 situations and batches of 20, the paper preset the script's 1000 and
100; k is the axis along which the end-to-end estimator's noise grows.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench.case import Case
from gradbench.record import Expectation, Record

MAY = Expectation.MAY

# k: expectation end-to-end and with decomposition, from benchmarks/expectations-quick.md
QUICK = {10: (MAY, MAY), 100: (MAY, MAY)}
PAPER = {10: (MAY, MAY), 1000: (MAY, MAY), 2000: (MAY, MAY)}


def cases(preset: str) -> Iterator[Case]:
    """Yield both approaches at each k."""
    if preset not in {"quick", "paper"}:
        return
    paper = preset == "paper"
    for k, expectations in (PAPER if paper else QUICK).items():
        for approach, expectation in zip(
            ("end-to-end", "decomposition"), expectations, strict=True
        ):
            yield Case(
                id=f"allocation-k{k}-{approach.replace('-', '')}",
                scenario="gradbench.scenarios.allocation:Allocation",
                setting={"approach": approach, "d": 1000 if paper else 100, "k": k},
                budget=2500 if paper else 600,
                batch=100 if paper else 20,
                expectation=expectation,
            )


@pytest.mark.gradbench(cases=cases)
def test_allocation(attempt: Callable[[], Record]) -> None:
    """The optimizer puts nearly everything on the right stock."""
    attempt()
