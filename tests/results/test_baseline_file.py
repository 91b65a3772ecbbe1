"""The baseline file: slim, one line a trial, without the machine's paths, read by every command."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from gradbench.analysis.history import histories, runs
from gradbench.analysis.moved import moved
from gradbench.cli import main
from gradbench.results import baseline_file
from gradbench.results.record import to_json
from gradbench.results.runs import load


@pytest.fixture
def written(real_run, tmp_path):
    """A real run, and the baseline of it."""
    run, path = load(real_run), tmp_path / "base.json"
    about = json.loads((real_run / "run.json").read_text())
    baseline_file.write(path, about, run.records)
    return run, path


def test_it_has_a_line_per_trial_and_one_per_record(written):
    run, path = written
    lines = path.read_text().splitlines()
    trials = sum(len(record.trials) for record in run.records)
    head = len([name for name in baseline_file.ABOUT if name in run.about])
    assert len(lines) == head + 2 * len(run.records) + trials + 4
    assert path.stat().st_size < (run.path / "records.jsonl").stat().st_size / 5


def test_another_number_of_one_trial_is_one_line_of_a_diff(written):
    run, path = written
    before = path.read_text().splitlines()
    (record,) = [r for r in run.records if r.optimizer == "adam:lr=1e-5"][:1]
    record.trials[1]["final_score"] = 0.123456
    baseline_file.write(path, run.about, run.records)
    after = path.read_text().splitlines()
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_it_names_no_folder_of_the_machine_but_the_optimizers_own(written):
    run, path = written
    text = path.read_text()
    for spec in run.optimizers:
        text = text.replace(to_json(spec)[1:-1], "")
    for folder in (run.path.parent, Path.cwd(), Path.home()):
        assert str(folder) not in text


def test_what_is_read_has_the_numbers_that_were_written(written):
    run, path = written
    found = load(path)
    assert found.optimizers == run.optimizers
    for optimizer in run.optimizers:
        ours, theirs = (
            [r for r in each.records if r.optimizer == optimizer] for each in (found, run)
        )
        assert [r.outcome for r in ours] == [r.outcome for r in theirs]
        assert moved(ours, theirs) == []


def test_compare_and_history_take_it(written, capsys):
    run, path = written
    adam = "adam:lr=1e-5"
    assert main(["compare", f"{run.path}:{adam}", f"{path}:{adam}", "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["ratio"] == 1.0
    found, unread = runs(run.path.parent, path)
    assert not unread
    (history,) = [each for each in histories(found) if each.optimizer == adam]
    assert [step.verdict for step in history.steps] == ["nothing to compare", "same numbers"]
    assert main(["history", str(path)]) == 0
    assert adam in capsys.readouterr().out


def test_a_baseline_of_an_earlier_version_is_read(written, tmp_path):
    run, _ = written
    old = tmp_path / "old.json"
    old.write_text(to_json(run.about | {"cases": [asdict(r) for r in run.records]}, indent=1))
    assert load(old).optimizers == run.optimizers


def test_a_file_that_is_none_is_one_line(tmp_path, capsys):
    (tmp_path / "b.json").write_text("[]")
    assert main(["history", str(tmp_path / "b.json")]) == 4
    assert main(["compare", f"{tmp_path}/b.json", f"{tmp_path}/b.json"]) == 4
    assert len(capsys.readouterr().err.splitlines()) <= 3
