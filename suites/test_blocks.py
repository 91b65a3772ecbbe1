"""Quadratics of three blocks of curvature, as coordinates and rotated (beyond the paper).

The condition number is about 7,000: gradient descent needs some 25,000 steps for six orders of
magnitude, on either. Adam's rate per coordinate solves the blocks and not their rotation.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MAY = Expectation.MAY
BUDGET = {"quick": 300, "standard": 5000}
CURVED = "mechanism: gradient descent needs about the condition number, 7,000, of steps"


def cases(preset: str) -> Iterator[Case]:
    """Yield both approaches; the paper has no such experiment."""
    if preset not in BUDGET:
        return
    for approach in ("blocks", "rotated"):
        yield Case(
            id=f"curvature-{approach}",
            scenario="gradbench.scenarios.blocks:Blocks",
            setting={"approach": approach},
            budget=BUDGET[preset],
            batch=1,
            target_score=1.0,
            expectation=MAY,
            why=CURVED,
        )


@pytest.mark.gradbench(cases=cases)
def test_blocks(attempt: Callable[[], Record]) -> None:
    """The optimizer brings the loss to a millionth."""
    attempt()
