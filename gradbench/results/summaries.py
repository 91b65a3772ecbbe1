"""Reads runs of more than 10,000 records without curves, points of sweeps or probe tracks."""

import functools
import re
from collections.abc import Callable

from gradbench.results.record import Expectation, Record, entry, parse
from gradbench.text import from_json

LARGE = 10_000
"""Maximum number of records of a run that is read and shown with curves, sweeps and tracks."""

WORD = r'("(?:[^"\\]|\\.)*")'
WHOSE = re.compile(
    rf'"approach": {WORD}, "optimizer": {WORD}, "expectation": {WORD}, [^{{}}]*?'
    rf'"architecture": (null|{WORD})'
)
"""Matches the fields of a line that name optimizer and architecture, as records are written."""

TRIAL = (
    *("seed", "status", "reason", "gradient_evaluations", "forward_evaluations"),
    *("evaluations_to_target", "seconds", "seconds_to_target", "final_score"),
)
TIMING = (
    *("clock", "device", "contended", "seconds_per_step", "probe_seconds", "launch_bound"),
    "recorded_seconds_per_step",
)
"""The fields of trials and of timing that are kept."""


def in_brief(line: str) -> Record:
    """Return the record of a line of JSON, without curves and the points of its sweep.

    Of the readings it has the first only.

    Fields that are left out may be unchecked. Raises ValueError, in a few words, where the line
    holds no record.
    """
    if (seen := _glance()(line)) is not None:
        return seen
    record = parse(line)
    record.trials = [{name: t[name] for name in TRIAL if name in t} for t in record.trials]
    record.timing = {name: record.timing[name] for name in TIMING if name in record.timing}
    record.tuning = []
    record.informativeness = record.informativeness[:1]
    return record


@functools.cache
def _glance() -> Callable[[str], Record | None]:
    """Return the msgspec decoder of lines; without msgspec, a function that returns None."""
    try:
        from gradbench.results.summaries_msgspec import glance
    except ImportError:
        return lambda _: None
    return glance


def whose(line: str) -> str | None:
    """Return the entry of a line's record by a search; None where the line must be parsed.

    The empty string for a learner.
    """
    found = WHOSE.search(line)
    if found is None:
        return None
    optimizer, expectation = from_json(found[2]), from_json(found[3])
    if expectation == Expectation.LEARNER:
        return ""
    return entry(optimizer, from_json(found[4]))
