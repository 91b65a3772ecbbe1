"""An item's outcome as pytest's: what fails, what was expected to fail, what is skipped."""

import pytest

from gradbench.record import Expectation, Outcome, Record, Status
from gradbench.verdict import fails


class Unsolved(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer did not solve what the case asks."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class Crashed(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer raised an exception in training."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class News(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer solved what was thought never to be solved, under the strict gate."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


class Regressed(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """The optimizer got worse than the baseline, beyond what the seeds' spread explains."""

    __module__ = "builtins"  # as pytest's own: its summary shows the message, not the path


def judge(node: pytest.Item, record: Record, gate: str) -> None:
    """Raise what the record's outcome calls for under the gate; return where it may pass."""
    who = "its learner" if record.expectation == Expectation.LEARNER else record.optimizer
    told = f"{who} solved {record.case} on {record.solved} of {record.seeds} seeds"
    if record.outcome == Outcome.SKIPPED:
        pytest.skip(f"{who} is unsupported: {record.reason}")
    if record.outcome == Outcome.PASSED:
        return
    why = f" ({record.reason})" if record.reason else ""
    crashed = Status.CRASHED in record.statuses
    if fails(record.outcome, gate, crashed=crashed):
        if record.outcome == Outcome.NEWS:
            raise News(f"{told}; expected: never", pytrace=False)
        if crashed:
            raise Crashed(f"{who} crashed on {record.case}{why}", pytrace=False)
        raise Unsolved(f"{told}; expected: {record.expectation}{why}", pytrace=False)
    node.add_marker(
        pytest.mark.xfail(reason=f"expected: {record.expectation}", raises=Unsolved, strict=False)
    )
    if record.outcome != Outcome.NEWS:
        raise Unsolved(f"{told}{why}", pytrace=False)
