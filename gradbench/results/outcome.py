"""The outcome of an item, from the statuses of its evaluation trials, and their median time."""

from collections.abc import Sequence

from gradbench.results.record import Expectation, Outcome, Record, Status

EXPECTATIONS = {expectation.value for expectation in Expectation}


def outcome(expectation: str, statuses: Sequence[str]) -> Outcome:
    """Return the outcome of an item.

    A crashed trial fails the item; an unsupported one skips it. A must passes when every seed is
    solved, a may or a learner when at least half are. A never that any seed solves is news.

    Raises ValueError for no trials.
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
    """Return how a record's outcome contradicts its trials, as text; empty where they agree."""
    if not record.outcome or not record.trials or record.expectation not in EXPECTATIONS:
        return ""
    due = outcome(record.expectation, record.statuses)
    return "" if record.outcome == due else f"outcome: {record.outcome}, by its trials {due.value}"


def censored_median(times: Sequence[float | None]) -> float | None:
    """Median of times to target, None standing for "not within the budget".

    The first time by which half or more have arrived; None where fewer ever do. With one common
    budget this is the Kaplan-Meier median.
    """
    if not times:
        raise ValueError("the median of no times does not exist")
    arrived = sorted(time for time in times if time is not None)
    half = (len(times) + 1) // 2
    return float(arrived[half - 1]) if len(arrived) >= half else None
