"""Random parities (section 2.1): gradients that say nothing about the target.

The ladder climbs in d at |v*| = floor(d/2), with d = 30 at |v*| = 2 as the control that shows that
size alone is not what makes d = 30 hard. Elimination over GF(2), which follows no gradient, solves
the hopeless rung from its first batch.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

MUST, MAY, NEVER = Expectation.MUST, Expectation.MAY, Expectation.NEVER

BUDGET = {"quick": 500, "standard": 20_000, "paper": 50_000}

# (d, |v*|): expectation, from benchmarks/expectations-quick.md and -standard.md
LADDER = {
    "quick": {
        (5, 2): MUST,
        (10, 5): MUST,
        (12, 6): MAY,
        (14, 4): MUST,
        (15, 7): MAY,
        (30, 15): NEVER,
        (30, 2): MUST,
    },
    "standard": {
        (5, 2): MUST,
        (10, 5): MUST,
        (12, 6): MUST,
        (15, 7): MAY,  # Adam: 96 of 100 seeds
        (20, 10): MAY,  # not measured over a hundred seeds; the rung below is no must
        (30, 15): NEVER,
        (30, 2): MUST,
    },
    # The four were measured at standard's 20,000 evaluations, which the paper's 50,000 only extend;
    # the paper's own plain SGD needs 231 and 16,019 (median of 5) and leaves d = 30 at chance.
    "paper": {(5, 2): MUST, (10, 5): MUST, (30, 15): NEVER},
}


# What makes optimizers fail: at d = 12 and 15 SGD solves in standard what it does not in quick.
WHY = {
    (12, 6): "budget: solved in standard",
    (15, 7): "budget: solved in standard",
    (30, 15): "mechanism: claim 2.1, at chance after 50,000 iterations; theorem 1 for its weight",
}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder of one preset."""
    for (d, weight), expectation in LADDER[preset].items():
        # A must needs a margin: at 0.9 a rate at the edge of stability can win momentum's sweep, of
        # which one seed in a hundred blows up; sign descent's slowest seed takes 1101 evaluations.
        margin = preset == "quick" and (d, weight) == (10, 5)
        yield Case(
            id=f"parity-d{d}-weight{weight}",
            scenario="gradbench.scenarios.parity:Parity",
            setting={"d": d, "weight": weight},
            budget=BUDGET[preset] * (5 if margin else 1),
            expectation=expectation,
            target_score=0.95 if margin else 0.9,
            why=WHY.get((d, weight), "open") if preset == "quick" or d == 30 else "open",
        )
    yield Case(
        id="parity-d30-weight15-elimination",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 30, "weight": 15, "approach": "elimination"},
        budget=10,
        expectation=Expectation.LEARNER,
    )


@pytest.mark.gradbench(cases=cases)
def test_parity(attempt: Callable[[], Record]) -> None:
    """The optimizer learns the parity."""
    attempt()
