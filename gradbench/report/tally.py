"""Summary of runs of more than 10,000 records: one row per optimizer and family."""

from collections import Counter

from gradbench.report.rows import shown
from gradbench.results.record import Expectation, Outcome, Record

HEADERS = ("optimizer", "family", "must", "may", "never", "seeds solved")
ASKED = (Expectation.MUST, Expectation.MAY, Expectation.NEVER)

SAID = (
    "Cases solved of cases attempted, by what is expected of them, and seeds solved of all seeds. "
    "So many records are shown in sum; records.jsonl holds each."
)


def rows(records: list[Record]) -> list[list[str]]:
    """Return a row per optimizer and family, in the order of the records."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for record in records:
        if record.expectation == Expectation.LEARNER:
            continue
        found = counts.setdefault((record.optimizer, record.family), Counter())
        found[record.expectation] += 1
        if record.outcome in {Outcome.PASSED, Outcome.NEWS}:
            found[f"{record.expectation} solved"] += 1
        found["solved"] += record.solved
        found["seeds"] += record.seeds
    return [
        [
            shown(optimizer),
            family,
            *(_share(found[f"{asked} solved"], found[asked]) for asked in ASKED),
            _share(found["solved"], found["seeds"]),
        ]
        for (optimizer, family), found in counts.items()
    ]


def _share(part: int, whole: int) -> str:
    return f"{part}/{whole}" if whole > 0 else "-"
