"""Adam's counter-example (beyond the paper): large gradients that are rare, but decide.

A weight's gradient is large and positive once in a period, small and negative else.
"""

from collections.abc import Callable, Iterator

import pytest

from gradbench import Case, Expectation, Record

pytestmark = pytest.mark.beyond

MAY = Expectation.MAY
FORGETS = "mechanism: the mean square has forgotten the large gradient when the next one comes"

# settings, and budgets by preset; expectations from benchmarks/expectations-beyond*.md
RUNGS: dict[str, tuple[dict[str, object], dict[str, int]]] = {
    "p11": ({"period": 11}, {"quick": 200, "standard": 500}),
    "p101": ({"period": 101}, {"quick": 500, "standard": 3000}),
    "p1001": ({"period": 1001}, {"standard": 5000}),
    "p10001": ({"period": 10_001}, {"standard": 40_000}),
    "random-p101": ({"approach": "random", "period": 101}, {"standard": 5000}),
    "published": ({"period": 101, "excess": 1 / 101}, {"standard": 20_000}),
}


def cases(preset: str) -> Iterator[Case]:
    """Yield the ladder of periods and the published constants; the paper has no such experiment."""
    for name, (setting, budgets) in RUNGS.items():
        if preset in budgets:
            yield Case(
                id=f"counterexample-{name}",
                scenario="gradbench.scenarios.counterexample:Counterexample",
                setting=setting,
                budget=budgets[preset],
                batch=1,
                expectation=MAY,
                why=FORGETS,
            )


@pytest.mark.gradbench(cases=cases)
def test_counterexample(attempt: Callable[[], Record]) -> None:
    """The optimizer goes to the optimum, not to the other end."""
    attempt()
