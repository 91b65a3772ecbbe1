"""A results file is held to its meaning: what cannot be is named by file, line and field."""

import json
from dataclasses import asdict

import pytest

from gradbench.cli import main
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import run_item
from gradbench.results import baseline_file
from gradbench.results.record import Expectation, line_of, parse, to_json
from gradbench.results.runs import load
from gradbench.results.summaries import in_brief


@pytest.fixture(scope="module")
def real():
    """A record of a real run, as plain data."""
    case = Case(
        id="real",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 4, "weight": 2},
        budget=60,
        batch=16,
        expectation=Expectation.MAY,
    )
    record, _ = run_item(Item(case=case, optimizer="adam", seeds=3, tuning=3, key="k"))
    assert record.solved > 0
    return json.loads(line_of(record))


def trial(**changes):
    def change(record):
        record["trials"][0] |= changes

    return change


def twice(record):
    record["trials"][1]["seed"] = record["trials"][0]["seed"]


def backwards(record):
    record["trials"][0]["curve"].reverse()


STRANGE = {
    "trials: two of one seed": twice,
    "curve: its evaluations run backwards": backwards,
    "solved: 1 of 3": lambda record: record.update(solved=1),
    "solved: 3 of 7": lambda record: record.update(seeds=7),
    "outcome: failed": lambda record: record.update(outcome="failed"),
    "its trials are no trials": trial(gradient_evaluations=12.5),
    "evaluations_to_target: 61 beyond the budget of 60": trial(evaluations_to_target=61),
    "evaluations_to_target: None of a trial that is solved": trial(evaluations_to_target=None),
    "final_score: 1e+300": trial(final_score=1e300),
}


@pytest.fixture
def run(tmp_path, real, about):
    def run(*records):
        (tmp_path / "run.json").write_text(json.dumps(about))
        (tmp_path / "records.jsonl").write_text("".join(to_json(r) + "\n" for r in records))
        return tmp_path

    return run


def changed(real, change):
    record = json.loads(json.dumps(real))
    change(record)
    return record


def test_a_real_record_is_whole(real):
    assert asdict(parse(to_json(real))) == real


@pytest.mark.parametrize("said", STRANGE)
def test_what_cannot_be_is_named_by_file_line_and_field(run, real, said, capsys):
    strange = changed(real, STRANGE[said])
    folder = run(real | {"case": "other"}, strange)
    found = load(folder)
    assert [record.case for record in found.records] == ["other"]
    assert found.damaged[0].startswith(f"{folder / 'records.jsonl'}, line 2: skipped, not a record")
    assert said in found.damaged[0]
    for command in (["report", str(folder)], ["compare", str(folder), str(folder)]):
        main(command)
        assert said in capsys.readouterr().err
    file = folder / "base.json"
    file.write_text(to_json({"cases": [real | {"case": "other"}, strange]}))
    with pytest.raises(baseline_file.BaselineError, match="case 2: not a record"):
        baseline_file.load(file)


@pytest.mark.parametrize(("status", "outcome"), [("diverged", "passed"), ("crashed", "failed")])
def test_a_failed_trial_that_an_older_version_dated_is_read_without_the_date(
    run, real, status, outcome
):
    old = changed(real, lambda one: one.update(solved=2, outcome=outcome))
    old["trials"][0]["status"] = status
    assert old["trials"][0]["evaluations_to_target"] is not None
    loaded = load(run(old))
    assert loaded.damaged == []
    (found,) = loaded.records
    assert found.trials[0]["status"] == status
    assert found.trials[0]["evaluations_to_target"] is None


def test_two_records_of_one_case_and_optimizer_are_not_averaged(run, real):
    found = load(run(real, real))
    assert len(found.records) == 1
    assert "a second record of real by adam" in found.damaged[0]
    file = run(real) / "base.json"
    file.write_text(to_json({"cases": [real, real]}))
    with pytest.raises(
        baseline_file.BaselineError, match="case 2: a second record of real by adam"
    ):
        baseline_file.load(file)


@pytest.mark.parametrize(
    "said", [name for name in STRANGE if "curve" not in name and "outcome" not in name]
)
def test_a_glance_sees_it_too(real, said):
    strange = changed(real, STRANGE[said])
    with pytest.raises(ValueError, match="not a record"):
        in_brief(to_json(strange))
