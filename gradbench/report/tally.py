"""A run in a few lines: what came of each optimizer, and a table per optimizer and family."""

from collections import Counter
from dataclasses import dataclass, field

from gradbench.report.rows import is_verified, ran, shown
from gradbench.results.record import Expectation, Outcome, Record

HEADERS = ("optimizer", "family", "must", "may", "never", "seeds solved")
ASKED = (Expectation.MUST, Expectation.MAY, Expectation.NEVER)

ALWAYS = (Outcome.PASSED, Outcome.FAILED)
CLAIM = "claim"
SAID_OF = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.NEWS: "news",
    CLAIM: "solved a never, not verified",
    Outcome.XFAILED: "left unsolved, as they may be",
    Outcome.SKIPPED: "unsupported",
}
"""Outcomes in words; those of `ALWAYS` are said where there are none."""

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
        if not ran(record):
            continue
        found[record.expectation] += 1
        if record.outcome == Outcome.PASSED or is_verified(record):
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


@dataclass
class Verdict:
    """What came of one optimizer: its name, the counts in words, and the cases that failed."""

    who: str
    said: str
    failed: list[str] = field(default_factory=list)


def verdicts(records: list[Record]) -> list[Verdict]:
    """Return a line per optimizer, in the order of the records; learners are left out."""
    by_optimizer: dict[str, list[Record]] = {}
    for record in records:
        if record.expectation != Expectation.LEARNER:
            by_optimizer.setdefault(record.optimizer, []).append(record)
    found = []
    for optimizer, own in by_optimizer.items():
        counts = Counter(
            CLAIM if record.outcome == Outcome.NEWS and not is_verified(record) else record.outcome
            for record in own
        )
        said = ", ".join(
            f"{counts[outcome]} {words}"
            for outcome, words in SAID_OF.items()
            if counts[outcome] or outcome in ALWAYS
        )
        failed = [record.case for record in own if record.outcome == Outcome.FAILED]
        found.append(
            Verdict(
                shown(optimizer), f"{len(own)} case{'' if len(own) == 1 else 's'}: {said}", failed
            )
        )
    return found


def _share(part: int, whole: int) -> str:
    return f"{part}/{whole}" if whole > 0 else "-"
