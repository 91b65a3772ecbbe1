"""Random parities (section 2.1): gradients that carry no information about the target.

The ladder increases d at |v*| = floor(d/2), except for d = 14 at |v*| = 4 in the quick preset. The
control, d = 30 at |v*| = 2, shows that d = 30 is not hard because of its size alone. Elimination
over GF(2), which uses no gradient, solves the hopeless rung from its first batch.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.paper

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
        (20, 10): MAY,  # not measured over 100 seeds; d = 15 is not a must
        (30, 15): NEVER,
        (30, 2): MUST,
    },
    # The four optimizers were measured at standard's 20,000 evaluations; the paper's 50,000 only
    # extend these. The paper's plain SGD needs 231 and 16,019 evaluations (median of 5 seeds) and
    # leaves d = 30 at chance.
    "paper": {(5, 2): MUST, (10, 5): MUST, (30, 15): NEVER},
}


# Why optimizers fail: at d = 12 and 15 SGD solves the cases in standard but not in quick.
WHY = {
    (12, 6): "budget: solved in standard",
    (15, 7): "budget: solved in standard",
    (30, 15): "mechanism: claim 2.1, at chance after 50,000 iterations; theorem 1 for its weight",
}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder of one preset, and elimination at d = 30."""
    for (d, weight), expectation in LADDER[preset].items():
        # A must needs a margin. At a target of 0.9, momentum's sweep can choose a rate at the edge
        # of stability, at which one seed in a hundred diverges. Sign descent's slowest seed takes
        # 1101 evaluations.
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
