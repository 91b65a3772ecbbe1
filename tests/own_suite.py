"""A suite of three small cases, one of them a learner."""

import pytest

from gradbench.protocol.case import Case
from gradbench.results.record import Expectation


def cases(preset):
    for d, approach in ((4, "gradient"), (5, "gradient"), (6, "elimination")):
        yield Case(
            id=f"own-d{d}",
            scenario="gradbench.scenarios.parity:Parity",
            setting={"d": d, "weight": 2, "approach": approach},
            budget=60,
            batch=32,
            expectation=Expectation.MAY if approach == "gradient" else Expectation.LEARNER,
        )


@pytest.mark.gradbench(cases=cases)
def test_own(attempt):
    attempt()
