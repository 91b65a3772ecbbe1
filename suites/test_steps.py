"""Step functions (section 5): a flat activation, and nine ways to train through or around it.

The quick preset has n = 20 inputs, standard and paper the script's 100; paper has its batch of 256.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench.case import Case
from gradbench.record import Expectation, Record

MUST, MAY, NEVER = Expectation.MUST, Expectation.MAY, Expectation.NEVER
LEARNER = Expectation.LEARNER

SIZE = {"quick": 20, "standard": 100, "paper": 100}
BATCH = {"quick": 128, "standard": 128, "paper": 256}
BUDGET = {"quick": 500, "standard": 2500}

# id: setting, expectation in the quick and the standard preset (benchmarks/expectations-*.md), the
# paper's iterations
LADDER: dict[str, tuple[dict[str, object], Expectation, Expectation, int]] = {
    "steps-direct": ({"approach": "direct"}, NEVER, NEVER, 10_000),
    "steps-nonflat": ({"approach": "non-flat"}, MAY, MAY, 10_000),
    "steps-nonflat-start2": ({"approach": "non-flat", "start": 2.0}, MAY, MAY, 10_000),
    "steps-endtoend": ({"approach": "end-to-end"}, MAY, MAY, 10_000),
    "steps-multiclass": ({"approach": "multi-class"}, MAY, MAY, 10_000),
    "steps-forwardonly": ({"approach": "forward-only"}, MAY, MAY, 5_000),
    "steps-forwardonly-standard": (
        {"approach": "forward-only", "inputs": "standard"},
        MAY,  # Adam: 92 of 100 seeds, at the rate that its sweep settles on
        MAY,
        5_000,
    ),
    "steps-straightthrough": ({"approach": "straight-through"}, MAY, MAY, 5_000),
    "steps-surrogate": ({"approach": "surrogate"}, MAY, MAY, 5_000),
    "steps-glmtron": ({"approach": "glmtron"}, LEARNER, LEARNER, 5_000),
    "steps-isotron": ({"approach": "isotron"}, LEARNER, LEARNER, 5_000),
}


def cases(preset: str) -> Iterator[Case]:
    """Yield every approach; at paper size only the direct gradient, which is zero, is never."""
    for case_id, (setting, quick, standard, iterations) in LADDER.items():
        paper = MAY if quick == MUST else quick
        yield Case(
            id=case_id,
            scenario="gradbench.scenarios.steps:Steps",
            setting={"n": SIZE[preset], **setting},
            budget=BUDGET.get(preset, iterations),
            batch=BATCH[preset],
            expectation={"quick": quick, "standard": standard}.get(preset, paper),
        )


@pytest.mark.gradbench(cases=cases)
def test_steps(attempt: Callable[[], Record]) -> None:
    """The optimizer finds the unit, or a network that answers like it."""
    attempt()
