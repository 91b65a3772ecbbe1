"""Piecewise-linear curves (section 4): one problem in four architectures, by conditioning.

The quick preset has n = 30 positions, the paper preset the script's 100. The text's data is ten
times worse conditioned than the script's.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench.case import Case
from gradbench.record import Expectation, Record

MUST, MAY = Expectation.MUST, Expectation.MAY

# (approach, data): expectation in the quick preset (benchmarks/expectations-quick.md), the paper's
# batch and iterations
LADDER = {
    ("linear", "text"): (MAY, 100, 50_000),
    ("linear", "script"): (MAY, 100, 50_000),
    ("convolution", "text"): (MAY, 100, 50_000),
    ("convolution", "script"): (MAY, 100, 50_000),
    ("conditioned", "text"): (MUST, 10, 500),
    ("conditioned", "script"): (MUST, 10, 500),
    ("autoencoder", "real"): (MAY, 100, 10_000),
}


def cases(preset: str) -> Iterator[Case]:
    """Yield each architecture on each of its distributions; at paper size nothing is measured."""
    if preset not in {"quick", "paper"}:
        return
    paper = preset == "paper"
    for (approach, data), (expectation, batch, iterations) in LADDER.items():
        yield Case(
            id=f"curves-{approach}-{data}",
            scenario="gradbench.scenarios.curves:Curves",
            setting={"approach": approach, "data": data, "n": 100 if paper else 30},
            budget=iterations if paper else 600,
            batch=batch if paper else 50,
            expectation=MAY if paper else expectation,
        )


@pytest.mark.gradbench(cases=cases)
def test_curves(attempt: Callable[[], Record]) -> None:
    """The optimizer finds where the curves bend."""
    attempt()
