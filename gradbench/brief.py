"""Records in brief: what of them a run of very many can hold, and whose a line is at a glance."""

import json
import re

from gradbench.record import Expectation, Record, contestant, parse

LARGE = 10_000
"""Records beyond which a run is read and shown in brief: without curves, sweeps and tracks."""

FLAT = r"\{[^{}]*\}"
NESTED = rf"\{{[^{{}}]*(?:{FLAT}[^{{}}]*)*\}}"
LEFT_OUT = (
    (re.compile(r'"curve": \[\[[^][{}"]*\](?:, \[[^][{}"]*\])*\]'), '"curve": []'),
    (re.compile(rf'"tuning": \[{NESTED}(?:, {NESTED})*\]'), '"tuning": []'),
    (re.compile(rf'"tuning_cost": {NESTED}'), '"tuning_cost": {}'),
    (re.compile(rf'"informativeness": \[({FLAT})(?:, {FLAT})*\]'), r'"informativeness": [\1]'),
)
"""What need not even be parsed, where it looks as records are written."""

WORD = r'("(?:[^"\\]|\\.)*")'
WHOSE = re.compile(
    rf'"approach": {WORD}, "optimizer": {WORD}, "expectation": {WORD}, [^{{}}]*?'
    rf'"architecture": (null|{WORD})'
)
"""Where a line says who attempted the case, as records are written."""

TRIAL = (
    *("seed", "status", "reason", "gradient_evaluations", "forward_evaluations"),
    *("evaluations_to_target", "seconds", "seconds_to_target", "final_score"),
)
TIMING = ("clock", "device", "contended", "seconds_per_step", "probe_seconds", "launch_bound")
"""What is kept."""


def in_brief(line: str) -> Record:
    """Return of the record that a line of JSON holds what tables of many show.

    Raises ValueError, in a few words, where the line holds none.
    """
    short = line
    for pattern, instead in LEFT_OUT:
        short = pattern.sub(instead, short)
    try:
        record = parse(short)
    except ValueError:  # a brace within a string, perhaps
        record = parse(line)
    record.trials = [{name: t[name] for name in TRIAL if name in t} for t in record.trials]
    record.timing = {name: record.timing[name] for name in TIMING if name in record.timing}
    record.tuning, record.tuning_cost = [], {}
    record.informativeness = record.informativeness[:1]
    return record


def whose(line: str) -> str | None:
    """Return the contestant of a line's record by its looks; None where only parsing can tell.

    A learner's is the empty string.
    """
    found = WHOSE.search(line)
    if found is None:
        return None
    optimizer, expectation = json.loads(found[2]), json.loads(found[3])
    if expectation == Expectation.LEARNER:
        return ""
    return contestant(optimizer, json.loads(found[4]))
