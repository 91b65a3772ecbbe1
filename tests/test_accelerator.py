"""benchmarks/accelerator.py on the CPU: every check ends, and what fails in one ends no other."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "accelerator.py"


def run(folder: Path, *options: str) -> tuple[int, list[dict[str, str]]]:
    command = [sys.executable, str(SCRIPT), "--device=cpu", f"--out={folder}", *options]
    code = subprocess.run(command, check=False, capture_output=True).returncode
    return code, json.loads((folder / "accelerator.json").read_text())["rows"]


@pytest.mark.proof
def test_one_check_writes_a_table_and_the_same_as_json(tmp_path):
    code, rows = run(tmp_path, "--only=recorded")
    assert code == 0
    assert [row["figure"] for row in rows] == ["not applicable on a CPU"]
    assert "not applicable on a CPU" in (tmp_path / "accelerator.md").read_text()


@pytest.mark.proof
def test_what_the_time_does_not_allow_is_said(tmp_path):
    began = time.monotonic()
    code, rows = run(tmp_path, "--only=stacked,many", "--minutes=0.1")
    assert {row["result"] for row in rows} <= {"measured", "holds", "not run"}
    assert any(row["figure"].startswith("did not end in") for row in rows)
    assert (rows[-1]["check"], rows[-1]["figure"]) == ("many", "no time")
    assert code == 0
    assert time.monotonic() - began < 60


@pytest.mark.proof
def test_a_check_that_raises_is_a_row():
    spec = importlib.util.spec_from_file_location("accelerator", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    (row,) = script._check("no-such-check", "cpu", 60)
    assert (row["check"], row["result"]) == ("no-such-check", "failed")
    assert "KeyError" in row["figure"]


def test_an_unknown_check_is_one_line():
    command = [sys.executable, str(SCRIPT), "--device=cpu", "--only=speed"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].endswith(
        "no such check: speed; choose from recorded, bits, stacked, many, figure-3, thousand, "
        "quick, clock"
    )


@pytest.mark.proof
def test_every_check_ends_on_a_cpu_and_none_fails(tmp_path):
    code, rows = run(tmp_path, "--minutes=30")  # a CPU takes ten and more
    assert code == 0
    assert {row["result"] for row in rows} <= {"measured", "holds"}
    names = {row["check"] for row in rows}
    assert names == {
        *("recorded", "bits", "stacked", "many", "figure-3", "thousand", "quick", "clock")
    }
