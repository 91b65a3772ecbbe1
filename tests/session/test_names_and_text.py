"""Separators of Unicode, terminals of few letters, colons in names, and a git that takes long."""

import io
import json
import sys

import pytest

from gradbench.cli import main
from gradbench.protocol.resume import finished
from gradbench.results import run_folder
from gradbench.results.record import append, lines_of, read
from gradbench.results.runs import RunError, choose, load

SEPARATORS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"


@pytest.fixture
def run(tmp_path, record, about):
    """A run in a folder whose name has colons, with a spec that has separators of lines."""
    path = tmp_path / "2026-11-26T10:00:00" / "run"
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps(about))
    for case in ("one", "two"):
        spec = f"./opt.py:Mine:tag='{SEPARATORS}'"
        append(path / "records.jsonl", record(case=case, optimizer=spec, key=case))
    return path


def test_a_line_ends_with_a_newline_and_with_nothing_else(run):
    assert len(list(lines_of(run / "records.jsonl"))) == 2
    assert len(read(run / "records.jsonl")) == len(finished(run)) == len(load(run).records) == 2


def test_a_record_behind_half_a_line_is_a_line_of_its_own(run, record):
    file = run / "records.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    append(file, record(case="three", key="three"))
    assert set(finished(run)) == {"one", "three"}


@pytest.mark.parametrize("spec", ["", "./opt.py:Mine:tag='" + SEPARATORS + "'"])
def test_colons_may_be_in_a_folders_name_and_in_a_spec(run, spec):
    _, found, records = choose(f"{run}:{spec}" if spec else str(run))
    assert found.startswith("./opt.py:Mine")
    assert len(records) == 2
    with pytest.raises(RunError, match="there is no run"):
        choose("nowhere:adam:lr=0.1")


def test_what_a_terminal_cannot_write_is_escaped(monkeypatch):
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert main(["list"]) == 0
    ascii_only.flush()
    assert b"\\u2026" in ascii_only.buffer.getvalue()


@pytest.mark.parametrize(
    ("status", "dirty"), [(None, None), ("", False), (" M gradbench/cli.py", True)]
)
def test_where_git_does_not_answer_it_is_not_known_whether_anything_changed(
    monkeypatch, status, dirty
):
    answers = {"rev-parse": "abc", "status": status}
    monkeypatch.setattr(run_folder, "_git", lambda word, *_: answers[word])
    assert run_folder.machine()["dirty"] is dirty
