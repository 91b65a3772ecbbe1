"""An optimizer's profile: of each mechanism, which cases it solves."""

from collections.abc import Iterable
from typing import Any

from gradbench.results.record import Expectation, Record


def profile(records: Iterable[Record]) -> dict[str, Any]:
    """Return `families`, and per optimizer and family its solved and unsolved cases, by name.

    A case is solved if more than half of its seeds are. Families are as in the records, learners
    are left out; a family of which an optimizer has no record is None.
    """
    kept = [r for r in records if r.expectation != Expectation.LEARNER and r.seeds > 0]
    families = list(dict.fromkeys(r.family for r in kept))
    found: dict[str, dict[str, dict[str, list[str]]]] = {}
    for record in kept:
        cell = found.setdefault(record.optimizer, {}).setdefault(
            record.family, {"solved": [], "unsolved": []}
        )
        cell["solved" if 2 * record.solved > record.seeds else "unsolved"].append(record.case)
    return {
        "families": families,
        "results": {
            spec: [cells.get(family) for family in families] for spec, cells in found.items()
        },
    }
