"""Piecewise-linear curves (section 4): one problem in four architectures, by conditioning.

The quick preset has n = 30 positions, standard 50, paper the script's 100. Quick's convolution has
15 and 20: with its condition number, of order n^3, these separate optimizers within the budget.
The condition number of the text's data is ten times that of the script's.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.paper

MUST, MAY = Expectation.MUST, Expectation.MAY

SIZE = {"quick": 30, "standard": 50, "paper": 100}
BATCH = {"quick": 64, "standard": 100}
BUDGET = {"quick": 500, "standard": 5000}

THEOREM = "mechanism: theorem 3, gradient descent needs steps of order n^3.5; claim 4.1.1 for Adam"
MISSED = "mechanism: claim 4.1.1, the kinks are missed after 50,000 iterations"
DETAILS = "mechanism: claim 4.1.4, details are missed after 50,000 iterations"

# (approach, data, n or None for the preset's): expectation (benchmarks/expectations-*.md) in the
# quick and the standard preset, None where it has no such case; and why optimizers fail
LADDER: dict[tuple[str, str, int | None], tuple[Expectation | None, Expectation | None, str]] = {
    ("linear", "text", None): (MAY, MAY, THEOREM),
    ("linear", "script", None): (None, MAY, MISSED),
    ("convolution", "script", 15): (MAY, None, "open"),
    ("convolution", "script", 20): (MAY, None, "open"),
    ("convolution", "text", None): (None, MAY, "open"),
    ("convolution", "script", None): (None, MAY, "open"),
    ("conditioned", "text", None): (MUST, MUST, "open"),
    ("conditioned", "script", None): (MUST, MUST, "open"),
    ("autoencoder", "real", None): (None, MAY, DETAILS),
}

# approach: the script's iterations and batch
PAPER = {
    "linear": (50_000, 100),
    "convolution": (50_000, 100),
    "conditioned": (500, 10),
    "autoencoder": (10_000, 100),
}


def cases(preset: str) -> Iterator[Case]:
    """Yield each architecture on each of its distributions.

    All cases at paper size are MAY, since none was measured.
    """
    for (approach, data, n), (quick, standard, why) in LADDER.items():
        expectation = {"quick": quick, "standard": standard}.get(preset, standard and MAY)
        if expectation is None:
            continue
        budget, batch = PAPER[approach]
        yield Case(
            id=f"curves-{approach}-{data}" + ("" if n is None else f"-n{n}"),
            scenario="gradbench.scenarios.curves:Curves",
            setting={"approach": approach, "data": data, "n": SIZE[preset] if n is None else n},
            budget=BUDGET.get(preset, budget),
            batch=BATCH.get(preset, batch),
            expectation=expectation,
            why=why,
        )


@pytest.mark.gradbench(cases=cases)
def test_curves(attempt: Callable[[], Record]) -> None:
    """The optimizer finds the curves' changes of slope."""
    attempt()
