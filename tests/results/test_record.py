import json
import math

import pytest

from gradbench.results.record import Record, Status, TrialResult, append, parse, read, to_json


def a_record(**changes):
    fields = {
        "case": "parity-d5-weight2",
        "family": "uninformative",
        "scenario": "parity",
        "section": "2.1",
        "setting": {"d": 5},
        "approach": "",
        "optimizer": "adam",
        "expectation": "must",
        "budget": 10,
        "batch": 128,
        "target_score": 0.9,
    }
    return Record(**(fields | changes))


def test_json_has_neither_nan_nor_infinity():
    text = to_json({"a": [math.nan, (math.inf, 1.5)], "b": -math.inf})
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, [None, 1.5]], "b": None}


def test_what_is_appended_is_read_back(tmp_path):
    trial = TrialResult(3, Status.DIVERGED, "why", curve=[(0, 0.1, math.nan)], blocks=[(1.0, 2)])
    record = a_record(trials=[trial.plain()], seeds=1)
    path = tmp_path / "records.jsonl"
    append(path, record)
    append(path, a_record(case="other"))
    first, second = read(path)
    assert first.trials[0]["status"] == "diverged"
    assert first.trials[0]["curve"] == [[0, 0.1, None]]
    assert "blocks" not in first.trials[0]
    assert (first.case, second.case) == ("parity-d5-weight2", "other")
    assert first.reason == "why"


def test_what_utf_8_cannot_hold_is_read_back(tmp_path):
    record = a_record()
    record.notes = ["half of a pair: \ud800"]
    append(tmp_path / "records.jsonl", record)
    (back,) = read(tmp_path / "records.jsonl")
    assert back.notes == ["half of a pair: \\ud800"]  # escaped, so that it can be written again
    back.notes = record.notes
    assert back == record


def test_a_reader_ignores_fields_of_a_later_version(tmp_path):
    path = tmp_path / "records.jsonl"
    append(path, a_record())
    data = json.loads(path.read_text()) | {"of_a_later_version": 1}
    path.write_text(json.dumps(data) + "\n\n")
    assert [record.case for record in read(path)] == ["parity-d5-weight2"]


@pytest.mark.parametrize("bad", ['{"case": ', "[]", '{"case": "x"}'])
def test_a_damaged_line_is_named_by_its_number(tmp_path, bad):
    path = tmp_path / "records.jsonl"
    append(path, a_record())
    with path.open("a") as file:
        file.write(bad + "\n")
    with pytest.raises(ValueError, match="line 2"):
        read(path)


def test_what_a_line_lacks_is_named():
    with pytest.raises(ValueError, match=r"it lacks case, family, scenario\.\.\."):
        parse("{}")


def test_a_step_that_evaluates_nothing_has_no_seconds_of_an_evaluation():
    """A closure need not be called, and a trial that crashes in its first block has none."""
    assert TrialResult(0, Status.UNSOLVED, blocks=[(3.0, 5)]).evaluation_seconds is None
    assert TrialResult(0, Status.CRASHED, gradient_evaluations=3).evaluation_seconds is None
    taken = TrialResult(0, Status.UNSOLVED, gradient_evaluations=6, blocks=[(3.0, 5)])
    assert taken.evaluation_seconds == 0.5
