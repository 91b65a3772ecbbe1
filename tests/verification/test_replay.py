"""Trials of real runs, trained again: what was not touched is equal, each forgery is found."""

import json
import random
import shutil

import pytest

from gradbench.cli import main
from gradbench.protocol.discovery import cases
from gradbench.results.run_folder import machine
from gradbench.results.runs import RunError, load
from gradbench.verification.replay import chance_to_find, replay


@pytest.fixture(scope="module")
def suite(real_run):
    return real_run.parents[1] / "test_own.py"


@pytest.fixture
def copied(real_run, tmp_path, monkeypatch):
    """A copy of a real run, and a function that changes its records."""
    folder = tmp_path / "run"
    shutil.copytree(real_run, folder)
    monkeypatch.chdir(real_run.parents[1])  # where its specs are resolved
    file = folder / "records.jsonl"

    def change(how):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        how(records)
        file.write_text("".join(json.dumps(record) + "\n" for record in records))

    return folder, change


def chosen(records, optimizer="sgd:momentum=0.9"):
    return next(r for r in records if r["optimizer"] == optimizer and len(r["trials"][0]["curve"]))


def test_every_trial_of_a_real_run_is_equal_to_the_bit(copied, suite, capsys):
    folder, _ = copied
    assert main(["verify", str(folder), str(suite), "--sample=1000", "--format=json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same_machine"] is True
    assert len(found["found"]) == found["trials"]
    assert {each["verdict"] for each in found["found"]} == {"equal"}
    assert "diverged" in {t["status"] for r in load(folder).records for t in r.trials}


def _curve(records):
    chosen(records)["trials"][1]["curve"][-1][2] += 1e-9


def _verdict(records):
    record = chosen(records)
    trial = record["trials"][0]
    solved = trial["status"] == "solved"
    trial["status"] = "unsolved" if solved else "solved"
    trial["evaluations_to_target"] = None if solved else record["budget"]
    record["solved"] += -1 if solved else 1
    share = record["solved"] / record["seeds"]
    must = record["expectation"] == "must"
    passed = share == 1 if must else share >= 0.5
    record["outcome"] = "passed" if passed else "failed" if must else "xfailed"


def _rate(records):
    chosen(records)["hyperparameters"]["lr"] *= 1.01


def _budget(records):
    chosen(records)["budget"] += 1000


@pytest.mark.parametrize(
    ("forge", "verdict", "said"),
    [
        (_curve, "differs", "curve: "),
        (_verdict, "differs", "status: "),
        (_rate, "differs", ""),
        (_budget, "not replayed", "its budget is "),
    ],
)
def test_a_forged_record_is_found(copied, suite, capsys, forge, verdict, said):
    folder, change = copied
    change(forge)
    assert main(["verify", str(folder), str(suite), "--sample=1000", "--format=json"]) == 1
    found = json.loads(capsys.readouterr().out)["found"]
    bad = [each for each in found if each["verdict"] != "equal"]
    assert {each["verdict"] for each in bad} == {verdict}
    assert all(each["said"].startswith(said) and each["said"] for each in bad)
    assert {each["optimizer"] for each in bad} == {"sgd:momentum=0.9"}


def test_on_another_machine_bits_are_not_compared_but_verdicts_are(copied, suite, capsys):
    folder, change = copied
    about = json.loads((folder / "run.json").read_text())
    about["cpu"] = "another processor"
    (folder / "run.json").write_text(json.dumps(about))
    change(_curve)
    words = ["verify", str(folder), str(suite), "--sample=1000"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"processor: another processor in the run, {machine()['cpu']} here" in said
    assert " alike" in said
    change(_verdict)
    assert main(words) == 1
    assert "status: " in capsys.readouterr().out


def test_mistakes_are_one_line(copied, suite, capsys):
    folder, _ = copied
    assert main(["verify", str(folder), "--sample=0"]) == 4
    assert main(["verify", str(folder.parent)]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["verify", str(folder)]) == 1  # its cases are in a suite that was not named
    assert "its case is in none of these suites" in capsys.readouterr().out
    run = load(folder)
    run.about["protocol"] = 1
    with pytest.raises(RunError, match="protocol 1; this version trains by"):
        replay(run, list(cases([suite], "quick")), 1)


def test_the_chance_to_find_a_forgery_is_that_of_drawing_one():
    """2,000 trials, 20 forged, 300 verified: at least 95 %, by the formula and by drawing."""
    exact = chance_to_find(2000, 20, 300)
    assert exact > 0.95
    draw = random.Random(0)
    hits = sum(min(draw.sample(range(2000), 300)) < 20 for _ in range(4000))
    assert abs(hits / 4000 - exact) < 4 * (exact * (1 - exact) / 4000) ** 0.5
    assert chance_to_find(10, 1, 10) == 1.0
    assert chance_to_find(10, 0, 10) == 0.0
