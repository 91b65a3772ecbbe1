"""docs/paper.md is what its command writes from benchmarks/paper.jsonl, and has every row."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks" / "paper"


@pytest.fixture
def command(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("paper_command", FOLDER / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    for name in ("common", "drawing", *(f"section{n}" for n in (2, 3, 4, 5))):
        sys.modules.pop(name, None)


def test_the_page_is_what_the_measurements_make(command):
    assert command.PAGE.read_text() == command.page(command.known())


def test_every_line_of_the_table_has_as_many_cells(command):
    lines = [line for line in command.PAGE.read_text().splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(command.ROWS)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}


def test_every_row_has_a_verdict_numbers_a_date_and_a_cost(command):
    found = command.known()
    assert set(found) == {row.id for row in command.ROWS}
    for row in found.values():
        assert row["verdict"] in {
            *(command.YES, command.PART, command.NO, command.UNTESTED, command.OURS)
        }
        assert re.search(r"\d", row["measured"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])
        assert row["seconds"] >= 0


def test_what_was_drawn_stands_beside_its_row(command):
    drawn = {name for name, row in command.known().items() if row.get("figure")}
    assert {"figure-1", "figure-3", "figure-4", "figure-5", "figure-6-linear"} <= drawn
    shown = dict(re.findall(r"!\[(.*)\]\((.*)\)", command.PAGE.read_text()))
    assert set(shown) == drawn
    for file in shown.values():
        assert "<svg" in (command.PAGE.parent / file).read_text()


def test_the_answer_of_unfinished_trials_has_an_interval_and_says_what_is_missing(
    command, tmp_path, monkeypatch
):
    trials = [
        {
            "part": "escape",
            "start": "script",
            "stored": 0,
            "escape": at,
            "seconds": 10.0,
            "device": "cpu",
            "evaluations": None if at else 40_000,
            "score": 0.0,
            "curve": [[0, 0.0], [100, 0.2]] if at else [],
        }
        for at in (None, 300, 500)
    ]
    file = tmp_path / "figure3.jsonl"
    file.write_text("".join(json.dumps(trial) + "\n" for trial in trials))
    monkeypatch.setattr(command.section3, "FIGURE_3", file)
    found = command.section3.escape()
    assert found.measured == (
        "script, fresh: 2 of 3 (21 to 94 %) escape after 300, 500; trained on cpu; "
        "of 1 trials the curve was lost"
    )
    assert found.reason.startswith("17 of its 20 trials are missing; ")
    assert found.seconds == 30
    assert [points for _, points in found.figure.lines][2:] == [[(40_000, 0.0)]]


def test_a_measurement_that_changes_changes_the_page(command, tmp_path, monkeypatch):
    file, page = tmp_path / "paper.jsonl", tmp_path / "paper.md"
    file.write_text(command.FILE.read_text())
    monkeypatch.setattr(command, "FILE", file)
    monkeypatch.setattr(command, "PAGE", page)
    assert command.main([]) == 0
    before = page.read_text()
    assert before == (ROOT / "docs" / "paper.md").read_text()
    last = command.known()["lemma-1"]
    with file.open("a") as lines:
        lines.write(json.dumps(last | {"measured": "something else, 1"}) + "\n")
    assert command.main([]) == 0
    assert "something else, 1" in page.read_text() != before


def test_a_row_is_measured_again_and_judged_anew(command, tmp_path, monkeypatch):
    file = tmp_path / "paper.jsonl"
    file.write_text(command.FILE.read_text())
    monkeypatch.setattr(command, "FILE", file)
    monkeypatch.setattr(command, "PAGE", tmp_path / "paper.md")
    monkeypatch.setattr(
        command.section4, "inverse", lambda n: 2 * command.section4.slopes_to_values(n)
    )
    assert command.main(["lemma-1"]) == 0
    assert command.known()["lemma-1"]["verdict"] == command.NO


def test_an_unknown_row_is_named(command, capsys):
    assert command.main(["figure-9"]) == 4
    assert "no such row: figure-9; choose from figure-1" in capsys.readouterr().out
