"""Maps an item's outcome to pytest's: passed, failed, xfailed or skipped."""

from typing import Any

import pytest

from gradbench.results.record import Expectation, Outcome, Record, Status
from gradbench.text import printable


class Unsolved(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer did not solve what the case asks."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class Crashed(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer raised an exception in training."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class News(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer solved a case expected never to be solved, under the strict gate."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class Regressed(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer got worse than the baseline, beyond what the seeds' spread explains."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class Undecided(pytest.skip.Exception):  # type: ignore[name-defined,misc]
    """Neither a regression from the baseline nor its absence is shown."""

    __module__ = "builtins"


def circumstances(record: Record) -> list[str]:
    """Return the rate of an unsolved case, its neighbours in the sweep, and the seeds that failed.

    Each seed has its final score, each rate the mean score over its tuning seeds.
    """
    failed = [t for t in record.trials if t["status"] != Status.SOLVED]
    seeds = [f"seed {t['seed']} ({_score(t)})" for t in failed]
    found = [f"not solved: {', '.join(seeds)}"]
    if (rate := record.hyperparameters.get("lr")) is None:
        return found
    scores: dict[float, list[dict[str, Any]]] = {}
    for point in record.tuning:
        scores.setdefault(point["lr"], []).append(point)
    if rate not in scores:
        return [f"lr {rate:g}", *found]
    rates = sorted(scores)
    place = rates.index(rate)
    near = {"": rate}
    if place:
        near["below "] = rates[place - 1]
    if place + 1 < len(rates):
        near["above "] = rates[place + 1]
    said = [f"{where}lr {lr:g} ({_mean(scores[lr])})" for where, lr in near.items()]
    return [f"swept to {', '.join(said)}", *found]


def _mean(points: list[dict[str, Any]]) -> str:
    known = [point["score"] for point in points if point["score"] is not None]
    if len(known) < len(points) or not known:
        return str(next(p["status"] for p in points if p["score"] is None))
    return f"score {sum(known) / len(known):.3f}"


def _score(trial: dict[str, Any]) -> str:
    score = trial["final_score"]
    return str(trial["status"]) if score is None else f"score {score:.3f}"


def judge(node: pytest.Item, record: Record, gate: str) -> None:
    """Raise the pytest exception for the record's outcome under the gate; return if it passes."""
    learner = record.expectation == Expectation.LEARNER
    who = "its learner" if learner else printable(record.optimizer)
    result = f"{who} solved {record.case} on {record.solved} of {record.seeds} seeds"
    if record.outcome == Outcome.SKIPPED:
        pytest.skip(f"{who} is unsupported: {record.reason}")
    if record.outcome == Outcome.PASSED:
        return
    why = f" ({printable(record.reason)})" if record.reason else ""
    crashed = Status.CRASHED in record.statuses
    if fails(record.outcome, gate, crashed=crashed):
        if record.outcome == Outcome.NEWS:
            raise News(f"{result}; expected: never", pytrace=False)
        if crashed:
            raise Crashed(f"{who} crashed on {record.case}{why}", pytrace=False)
        more = f": {'; '.join(circumstances(record))}"
        raise Unsolved(f"{result}; expected: {record.expectation}{why}{more}", pytrace=False)
    node.add_marker(
        pytest.mark.xfail(reason=f"expected: {record.expectation}", raises=Unsolved, strict=False)
    )
    if record.outcome != Outcome.NEWS:
        raise Unsolved(f"{result}{why}", pytrace=False)


def fails(result: str, gate: str, *, crashed: bool = False) -> bool:
    """Whether an outcome makes its test fail under a gate."""
    if gate == "record":
        return False
    if gate in {"baseline", "changed"}:
        return crashed
    return result == Outcome.FAILED or (gate == "strict" and result == Outcome.NEWS)
