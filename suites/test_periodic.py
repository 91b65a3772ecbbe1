"""Linear-periodic functions (theorem 2): gradients that vanish with frequency and dimension.

The ladder increases r and d. At r = 1 the wave is slow enough for all optimizers; at r = 6 in 20
dimensions the part of the gradient that depends on the wave is too small for a run to resolve.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.paper

MUST, MAY, NEVER = Expectation.MUST, Expectation.MAY, Expectation.NEVER

THEOREM = "mechanism: theorem 2, the gradient's variance over targets falls exponentially in d, r"
BUDGET = {"quick": 500, "standard": 5000}

# (d, r, wave): expectation in the quick and the standard preset, from
# benchmarks/expectations-*.md; quick leaves out cases that every optimizer fails because of the
# budget, and cases with the same result as another
LADDER: dict[tuple[int, int, str], dict[str, Expectation]] = {
    (5, 1, "cosine"): {"quick": MUST, "standard": MUST},
    (5, 2, "cosine"): {"standard": MAY},
    (10, 2, "cosine"): {"quick": MAY, "standard": MAY},
    (10, 2, "square"): {"standard": MAY},
    (10, 4, "cosine"): {"standard": MAY},
    (20, 6, "cosine"): {"quick": NEVER, "standard": NEVER},
}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder; none for the paper preset, since the paper trains nothing here."""
    if preset not in BUDGET:
        return
    for (d, r, wave), expectations in LADDER.items():
        if preset not in expectations:
            continue
        doubled = preset == "quick" and expectations[preset] == MUST  # it needs at most half of it
        yield Case(
            id=f"periodic-d{d}-r{r}" + ("-square" if wave == "square" else ""),
            scenario="gradbench.scenarios.periodic:Periodic",
            setting={"d": d, "r": float(r), "wave": wave},
            budget=BUDGET[preset] * (2 if doubled else 1),
            expectation=expectations[preset],
            why=THEOREM if expectations[preset] == NEVER else "open",
        )


@pytest.mark.gradbench(cases=cases)
def test_periodic(attempt: Callable[[], Record]) -> None:
    """The optimizer learns the wave."""
    attempt()
