"""The outcome of an item, from the statuses of its evaluation trials."""

from collections.abc import Sequence

from gradbench.results.record import Expectation, Outcome, Record, Status

EXPECTATIONS = {expectation.value for expectation in Expectation}


def outcome(expectation: str, statuses: Sequence[str]) -> Outcome:
    """Return the outcome of an item.

    A must is met when every seed is solved, a may when at least half are, and a learner is shown
    likewise; a never that any seed solves is news.
    """
    if not statuses:
        raise ValueError("an item without evaluation trials has no outcome")
    if Status.CRASHED in statuses:
        return Outcome.FAILED
    if Status.UNSUPPORTED in statuses:
        return Outcome.SKIPPED
    solved = sum(status == Status.SOLVED for status in statuses)
    if expectation == Expectation.NEVER:
        return Outcome.NEWS if solved else Outcome.XFAILED
    if expectation == Expectation.MUST:
        return Outcome.PASSED if solved == len(statuses) else Outcome.FAILED
    return Outcome.PASSED if 2 * solved >= len(statuses) else Outcome.XFAILED


def contradicted(record: Record) -> str:
    """Return what a record's trials say against its outcome; empty where they agree."""
    if not record.outcome or not record.trials or record.expectation not in EXPECTATIONS:
        return ""
    due = outcome(record.expectation, record.statuses)
    return "" if record.outcome == due else f"outcome: {record.outcome}, by its trials {due.value}"
