"""Whether runs and records can be compared: the settings and problems that must be equal."""

from collections.abc import Sequence
from typing import Any

from gradbench.results.record import Record, differing

SAME = ("protocol", "preset", "tuning", "dtype")
"""Settings that must be equal in comparable runs, besides the type of device; the sizes of the
cases follow from the preset."""


class NotComparableError(ValueError):
    """Two runs cannot be compared; the message is one line that says why."""


def comparable(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Raise NotComparableError where two runs differ in a setting of `decisive`."""
    ours, theirs = decisive(a), decisive(b)
    for name, value in ours.items():
        if value != theirs[name]:
            raise NotComparableError(
                f"not comparable: {name} is {value} in A and {theirs[name]} in B; run both alike"
            )


def decisive(about: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run that must be equal in a comparable run."""
    device = about.get("device")
    kind = device.get("type") if isinstance(device, dict) else None
    return {name: about.get(name) for name in SAME} | {"device": kind}


def unlike(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each setting in which runs differ that must be equal in comparable runs."""
    each = [decisive(run) for run in runs]
    names = [*SAME, "device"]
    values = {name: list(dict.fromkeys(str(one[name]) for one in each)) for name in names}
    return [
        f"These runs are not alike: {name} is {' or '.join(found)}."
        for name, found in values.items()
        if len(found) > 1
    ]


def check_alike(a: Record, b: Record, where_a: str, where_b: str) -> None:
    """Raise NotComparableError where two records of one case are not of the same problem."""
    if name := differing(a, b):
        raise NotComparableError(
            f"not comparable: {name} of {a.case} is {getattr(a, name)} {where_a} and "
            f"{getattr(b, name)} {where_b}"
        )
