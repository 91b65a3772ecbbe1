"""Step functions (section 5): a flat activation, and seven ways to train through or around it.

The quick preset has n = 20 inputs, the paper preset the script's 100 with its batch of 256.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench.case import Case
from gradbench.record import Expectation, Record

MUST, MAY, NEVER = Expectation.MUST, Expectation.MAY, Expectation.NEVER

SIZE = {"quick": 20, "paper": 100}
BATCH = {"quick": 128, "paper": 256}

# id: setting, expectation in the quick preset (benchmarks/expectations-quick.md), the paper's
# iterations
LADDER: dict[str, tuple[dict[str, object], Expectation, int]] = {
    "steps-direct": ({"approach": "direct"}, NEVER, 10_000),
    "steps-nonflat": ({"approach": "non-flat"}, MAY, 10_000),
    "steps-nonflat-start2": ({"approach": "non-flat", "start": 2.0}, MAY, 10_000),
    "steps-endtoend": ({"approach": "end-to-end"}, MAY, 10_000),
    "steps-multiclass": ({"approach": "multi-class"}, MAY, 10_000),
    "steps-forwardonly": ({"approach": "forward-only"}, MAY, 5_000),
    "steps-forwardonly-standard": ({"approach": "forward-only", "inputs": "standard"}, MUST, 5_000),
    "steps-straightthrough": ({"approach": "straight-through"}, MAY, 5_000),
    "steps-surrogate": ({"approach": "surrogate"}, MAY, 5_000),
}


def cases(preset: str) -> Iterator[Case]:
    """Yield every approach; only the direct gradient, which is zero, is never by theory alone."""
    if preset not in SIZE:
        return
    for case_id, (setting, expectation, iterations) in LADDER.items():
        unmeasured = NEVER if setting["approach"] == "direct" else MAY
        yield Case(
            id=case_id,
            scenario="gradbench.scenarios.steps:Steps",
            setting={"n": SIZE[preset], **setting},
            budget=600 if preset == "quick" else iterations,
            batch=BATCH[preset],
            expectation=expectation if preset == "quick" else unmeasured,
        )


@pytest.mark.gradbench(cases=cases)
def test_steps(attempt: Callable[[], Record]) -> None:
    """The optimizer finds the unit, or a network that answers like it."""
    attempt()
