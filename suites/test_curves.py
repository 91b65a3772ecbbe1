"""Piecewise-linear curves (section 4): one problem in four architectures, by conditioning.

The quick preset has n = 30 positions, standard 50, paper the script's 100. The text's data is ten
times worse conditioned than the script's.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench.case import Case
from gradbench.record import Expectation, Record

MUST, MAY = Expectation.MUST, Expectation.MAY

SIZE = {"quick": 30, "standard": 50, "paper": 100}
BATCH = {"quick": 64, "standard": 100}
BUDGET = {"quick": 500, "standard": 5000}

# (approach, data): expectation in the quick and the standard preset, from
# benchmarks/expectations-*.md
LADDER = {
    ("linear", "text"): {"quick": MAY, "standard": MAY},
    ("linear", "script"): {"quick": MAY, "standard": MAY},
    ("convolution", "text"): {"quick": MAY, "standard": MAY},
    ("convolution", "script"): {"quick": MAY, "standard": MAY},
    ("conditioned", "text"): {"quick": MUST, "standard": MUST},
    ("conditioned", "script"): {"quick": MUST, "standard": MUST},
    ("autoencoder", "real"): {"quick": MAY, "standard": MAY},
}

# approach: the script's iterations and batch
PAPER = {
    "linear": (50_000, 100),
    "convolution": (50_000, 100),
    "conditioned": (500, 10),
    "autoencoder": (10_000, 100),
}


def cases(preset: str) -> Iterator[Case]:
    """Yield each architecture on each of its distributions; at paper size nothing is measured."""
    for (approach, data), expectations in LADDER.items():
        budget, batch = PAPER[approach]
        halved = preset == "quick" and approach == "autoencoder"  # a step costs as much as five
        yield Case(
            id=f"curves-{approach}-{data}",
            scenario="gradbench.scenarios.curves:Curves",
            setting={"approach": approach, "data": data, "n": SIZE[preset]},
            budget=BUDGET.get(preset, budget) // (2 if halved else 1),
            batch=BATCH.get(preset, batch),
            expectation=expectations.get(preset, MAY),
        )


@pytest.mark.gradbench(cases=cases)
def test_curves(attempt: Callable[[], Record]) -> None:
    """The optimizer finds where the curves bend."""
    attempt()
