"""Runs read back from the disk, also damaged ones."""

import json

import pytest

from gradbench.cli import main
from gradbench.results.record import append, to_json
from gradbench.results.runs import RunError, choose, load


@pytest.fixture
def folder(tmp_path, record):
    """A run of two optimizers and a learner."""
    path = tmp_path / "run"
    path.mkdir()
    about = {
        "protocol": 1,
        "preset": "quick",
        "tuning": 5,
        "seeds": 5,
        "optimizers": ["a", "b"],
        "device": {"type": "cpu", "name": None},
        "cpu": "some",
        "dtype": "float32",
        "versions": {"torch": "2", "gradbench": "0"},
        "commit": None,
        "dirty": None,
        "started": "2026-01-01",
    }
    (path / "run.json").write_text(to_json(about))
    for case in ("x", "y"):
        append(path / "records.jsonl", record(case, outcome="passed"))
        slow = (20, 40, 60, 80, 90)
        append(path / "records.jsonl", record(case, times=slow, optimizer="b", outcome="passed"))
    learned = record("z", optimizer="none", expectation="learner", outcome="passed")
    append(path / "records.jsonl", learned)
    return path


def test_a_run_and_its_optimizers(folder):
    run = load(folder)
    assert run.optimizers == ["a", "b"]
    assert len(run.records) == 5
    assert load(folder / "records.jsonl").records == run.records
    assert [r.case for r in choose(f"{folder}:b")[2]] == ["x", "y"]


def test_a_damaged_line_is_skipped_and_named(folder):
    lines = (folder / "records.jsonl").read_text().splitlines()
    bad = [
        "{",
        "[]",
        "17",
        "{}",
        '"text"',
        "null",
        "[" * 100_000,
        lines[0].replace('"budget": 100', '"budget": "x"'),
        lines[0].replace('"status": "solved"', '"status": "happy"'),
        lines[0][:50],
        lines[0].replace('"evaluations_to_target": 10', '"evaluations_to_target": NaN'),
        lines[0].replace('"budget": 100', '"budget": 0'),
    ]
    (folder / "records.jsonl").write_text("\n".join([*bad, *lines]) + "\n")
    run = load(folder)
    assert len(run.records) == 5
    assert len(run.damaged) == len(bad)
    assert "records.jsonl, line 3: skipped, not a record (" in run.damaged[2]


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_a_run_json_that_is_none_is_one_line(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json: (cannot be read|not an object)"):
        load(folder)


def test_what_is_no_run_says_so(tmp_path, folder):
    with pytest.raises(RunError, match=r"is no run: it needs run\.json and records\.jsonl"):
        load(tmp_path)
    with pytest.raises(RunError, match="has several optimizers: name one of a, b"):
        choose(str(folder))
    with pytest.raises(RunError, match="has no 'c': name one of a, b"):
        choose(f"{folder}:c")


def test_compare_from_the_command_line(folder, capsys):
    assert main(["compare", f"{folder}:a", f"{folder}:b"]) == 0
    out = capsys.readouterr().out
    assert "A: a\nB: b" in out
    assert "x" in out
    assert main(["compare", f"{folder}:a", f"{folder}:b", "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["families"][0]["cases"] == 2
    assert main(["compare", f"{folder}:a", f"{folder}:b", "--format=markdown"]) == 0
    assert "| x " in capsys.readouterr().out


def test_mistakes_on_the_command_line_are_one_line_and_exit_code_4(folder, capsys):
    for words in (
        ["compare", "nowhere", f"{folder}:a"],
        ["compare", str(folder), str(folder)],
        ["report", "nowhere"],
    ):
        assert main(words) == 4
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert error.startswith(f"gradbench {words[0]}: ")


def test_runs_of_different_presets_do_not_compare(folder, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    about = json.loads((folder / "run.json").read_text())
    (other / "run.json").write_text(to_json(about | {"preset": "standard"}))
    (other / "records.jsonl").write_text((folder / "records.jsonl").read_text())
    assert main(["compare", f"{folder}:a", f"{other}:a"]) == 4
    assert "not comparable: preset is quick in A and standard in B" in capsys.readouterr().err


def test_a_report_is_written_again_from_the_records(folder, capsys):
    with (folder / "records.jsonl").open("a") as file:
        file.write("half a li")
    assert main(["report", str(folder)]) == 0
    said = capsys.readouterr()
    assert "line 6: skipped" in said.err
    assert said.out.splitlines()[0] == str(folder / "report.md")
    assert "| x " in (folder / "report.md").read_text()
