"""Results that are too fast to be believed: the least evaluations that a case can take."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from gradbench.protocol.case import Case
from gradbench.results.outcome import censored_median

FACTOR = 10
"""How many times faster than the fastest standard optimizer is not believed."""


@cache
def _measured() -> dict[str, dict[str, Any]]:
    text = (files("gradbench.protocol") / "fastest.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


def fastest_standard(preset: str, case: Case) -> float | None:
    """Return the fewest median evaluations to target among the four standard optimizers.

    None where none of them solves half of its seeds, or the case was not measured as it is now.
    """
    found = _measured().get(preset, {}).get(case.id)
    return found["evaluations"] if found and found["budget"] == case.budget else None


def implausible(times: Sequence[int | None], fastest: float | None) -> str:
    """Return why evaluations to the target are too few to be believed; empty where they are not.

    Before the first evaluation nothing is known of the target; one batch may hold more bits than
    name a target, so that one evaluation is the least that information allows. Where a standard
    optimizer is known to solve the case, the median must not be below a tenth of its median.
    """
    solved = [time for time in times if time is not None]
    if solved and min(solved) < 1:
        return "a trial was at its target before its first evaluation, which tells what it is"
    middle = censored_median(times) if times else None
    if middle is not None and fastest is not None and middle * FACTOR < fastest:
        return (
            f"its median of {middle:g} evaluations is {fastest / middle:.0f} times below that of "
            f"the fastest standard optimizer, {fastest:g}"
        )
    return ""
