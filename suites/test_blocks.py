"""Quadratics of three blocks of curvature, as coordinates and rotated (beyond the paper).

With blocks near 1, 100 and 5,000 the condition number is about 7,000: gradient descent needs some
25,000 steps for six orders of magnitude, on either. Adam's rate per coordinate solves the blocks
and not their rotation.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MAY = Expectation.MAY
BUDGET = {"quick": 300, "standard": 5000}
RUNGS = {50: ("standard",), 500: ("standard",), 5000: ("quick", "standard")}
CURVED = "mechanism: gradient descent needs several times the condition number of steps"


def cases(preset: str) -> Iterator[Case]:
    """Yield both approaches at each condition; the paper has no such experiment."""
    for condition, presets in RUNGS.items():
        for approach in ("blocks", "rotated") if preset in presets else ():
            yield Case(
                id=f"curvature-{approach}" + ("" if condition == 5000 else f"-c{condition}"),
                scenario="gradbench.scenarios.blocks:Blocks",
                setting={"approach": approach, "condition": condition},
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
