"""Runs of very many records: read and shown in brief, and one optimizer's found at a glance."""

import json

import pytest

from gradbench.cli import main
from gradbench.report.html import available
from gradbench.results import runs
from gradbench.results import summaries as brief
from gradbench.results.record import FIELDS, line_of, parse
from gradbench.results.runs import choose, load
from gradbench.results.summaries import in_brief, whose
from gradbench.results.summaries_msgspec import Glance, Timing, Trial, glance

POINT = {"lr": 0.1, "seed": -1, "score": 1.0, "status": "solved", "hyperparameters": {"lr": 0.1}}
READING = {"probe": "snr", "evaluations": 0, "value": 2.0, "interval": [1.0, 3.0]}


@pytest.fixture
def long(record):
    """Make a record with all that is left out in brief."""

    def made(**changes):
        one = record(**changes)
        one.tuning = [POINT, POINT | {"lr": 0.2}]
        one.tuning_cost = {"gradient_evaluations": 3, "best_of": [{"k": 1, "evaluations": 2.0}]}
        one.tuning_cost["best_of"][0]["score"] = 1.0
        one.informativeness = [READING, READING | {"evaluations": 60, "value": None}]
        for trial in one.trials:
            trial["curve"] = [[0, 0.1, None], [60, 1.0, 2e-7]]
        return one

    return made


@pytest.fixture(params=["glanced at", "parsed"])
def way(request, monkeypatch):
    """Read lines with msgspec and as without it."""
    if request.param == "parsed":
        monkeypatch.setattr(brief, "_glance", lambda: lambda _: None)


def test_what_gradbench_writes_is_read_at_a_glance(long, record):
    for one in (long(), record(), record(timing={})):
        assert glance(line_of(one)) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": 0},
        {"solved": 9},
        {"ladder": ["case"]},
        {"hyperparameters": {"lr": "x"}},
        {"informativeness": [{"probe": 5}]},
        {"trials": [{"seed": 0, "status": "fine", "evaluations_to_target": 3}]},
        {"trials": [{"seed": 0, "status": "solved", "evaluations_to_target": -3}]},
        {"timing": {"seconds_per_step": {"median": "x"}}},
        {"notes": [5]},
    ],
)
def test_what_cannot_be_is_refused_at_a_glance_and_beyond(long, changes):
    line = json.dumps(json.loads(line_of(long())) | changes)
    assert glance(line) is None
    with pytest.raises(ValueError, match="not a record"):
        in_brief(line)


def test_a_glance_keeps_what_parsing_keeps():
    assert set(FIELDS) - set(Glance.__struct_fields__) == {
        "tuning",
        "more_trials",
        "law",
    }
    assert set(Trial.__struct_fields__) == set(brief.TRIAL)
    assert set(Timing.__struct_fields__) == set(brief.TIMING)


@pytest.fixture
def folder(tmp_path, about, long, monkeypatch):
    """Write a run of six records, which counts as very many."""
    monkeypatch.setattr(brief, "LARGE", 5)
    for module in ("results.runs", "report.view", "report.markdown"):
        monkeypatch.setattr(f"gradbench.{module}.LARGE", 5)
    (tmp_path / "run.json").write_text(json.dumps(about))
    records = [
        long(case=f"c{i}", optimizer=spec, outcome="passed")
        for spec in ("a", "b")
        for i in range(3)
    ]
    (tmp_path / "records.jsonl").write_text("".join(map(line_of, records)))
    return tmp_path


def kept(one):
    trials = [(t["seed"], t["status"], t["evaluations_to_target"]) for t in one.trials]
    return one.case, one.optimizer, one.solved, one.outcome, trials, one.informativeness[0]


@pytest.mark.usefixtures("way")
def test_a_record_in_brief_is_the_record_without_its_curves_sweep_and_later_readings(long):
    line = line_of(long())
    short = in_brief(line)
    assert kept(short) == kept(parse(line))
    assert short.tuning == []
    assert short.tuning_cost == parse(line).tuning_cost
    assert len(short.informativeness) == 1
    assert not any("curve" in trial for trial in short.trials)


@pytest.mark.parametrize(
    "said",
    ['{"curve": [[1, 2]]}', "}}}", '"tuning": [{}]', '\\"informativeness\\": [', "]}, {", "}]"],
)
@pytest.mark.usefixtures("way")
def test_whatever_a_message_says_is_kept(long, said):
    one = long()
    one.trials[0]["reason"] = one.tuning[0]["status"] = said
    one.notes = [said]
    one.setting = {"name": said}
    line = line_of(one)
    short = in_brief(line)
    assert kept(short) == kept(parse(line))
    assert (short.trials[0]["reason"], short.notes, short.setting) == (said, [said], one.setting)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"optimizer": 'a"b\\'}, 'a"b\\'),
        ({"optimizer": "adam", "architecture": "mlp:width=9"}, "adam on mlp:width=9"),
        ({"setting": {"approach": 'x", "optimizer": "no'}, "optimizer": "yes"}, "yes"),
        ({"expectation": "learner"}, ""),
    ],
)
def test_whose_a_line_is(record, changes, wanted):
    line = line_of(record(**changes))
    assert whose(line) == wanted
    if wanted:
        assert parse(line).entry == wanted


def test_a_line_of_another_writer_is_parsed(folder):
    file = folder / "records.jsonl"
    lines = file.read_text().splitlines()
    lines[4] = json.dumps(dict(sorted(json.loads(lines[4]).items())))
    file.write_text("".join(line + "\n" for line in lines))
    assert whose(lines[4]) is None
    run, spec, records = choose(f"{folder}:b", alone=True)
    assert (spec, len(records), len(run.records)) == ("b", 3, 3)


def test_one_optimizers_records_are_read_without_the_others(folder):
    run, _, records = choose(f"{folder}:b", alone=True)
    assert {record.optimizer for record in run.records} == {"b"}
    assert not any(record.tuning for record in run.records)
    assert [kept(r) for r in records] == [kept(r) for r in load(folder).records[3:]]
    with pytest.raises(runs.RunError, match="name one of a, b"):
        choose(f"{folder}:c", alone=True)


def test_a_damaged_line_is_named(folder):
    with (folder / "records.jsonl").open("a") as file:
        file.write('{"case": "half\n')
    (said,) = load(folder).damaged
    assert "line 7: skipped" in said


def test_reports_show_it_in_sum(folder, capsys):
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    assert ["a", "flatness", "-", "3/3", "-", "15/15"] in rows
    assert "c0" not in page
    assert main(["compare", f"{folder}:a", f"{folder}:b"]) == 0
    if available():
        text = (folder / "report.html").read_text()
        assert "Of 6 records the verdicts are shown" in text
        data = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
        assert data["cases"][0]["results"]["a"]["solved"] == 5
        assert data["families"] == []
    capsys.readouterr()
