import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gradbench.checks import optimizer as checks
from gradbench.cli import main
from gradbench.protocol.discovery import cases, suites
from gradbench.session.declared_options import FLAGS, SINGLE

HERE = Path(__file__).parent


def test_list_shows_every_case_and_the_optimizers(capsys):
    assert main(["list"]) == 0
    output = capsys.readouterr().out
    for case in cases([suites()], "quick"):
        assert case.id in output
    assert "adam" in output
    assert "2.1" in output
    assert max(len(line) for line in output.splitlines()) <= 100


def test_list_of_another_preset_and_of_a_suite_of_ones_own(capsys, tmp_path):
    assert main(["list", "--preset=standard"]) == 0
    assert "parity-d20-weight10" in capsys.readouterr().out
    assert main(["list", str(tmp_path / "nowhere")]) == 4
    assert "there is no suite" in capsys.readouterr().err


def test_run_is_pytest_on_the_suites_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--optimizer=sgd:lr=1.0", "-k", "parity-d5", "--gb-seeds=1"]) == 0
    assert "parity-d5-weight2[sgd:lr=1.0]" in capsys.readouterr().out
    assert (tmp_path / "reports" / "latest" / "records.jsonl").exists()


def test_the_help_of_run_is_one_screen_and_names_every_option(capsys):
    assert main(["run", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 100
    names = {line.split()[0].partition("=")[0].partition("[")[0] for line in lines if "--" in line}
    assert {f"--{name}" for name in (*SINGLE, *FLAGS)} <= names


@pytest.mark.parametrize("command", [["report"], ["export"], ["board", "--unverified"]])
def test_a_run_without_records_is_no_answer(real_run, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    shutil.copy(real_run / "run.json", tmp_path)
    (tmp_path / "records.jsonl").write_text("")
    assert main([*command, "."]) == 4
    assert capsys.readouterr().err == f"gradbench {command[0]}: . has no records\n"


@pytest.mark.parametrize("tolerance", ["nan", "-1", "inf"])
def test_a_tolerance_that_decides_nothing_is_refused(capsys, tolerance):
    assert main(["conform", "adam", "sgd", f"--tolerance={tolerance}"]) == 4
    assert capsys.readouterr().err.startswith("gradbench conform: --tolerance: a number from 0 on")


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["ruin"])
    assert caught.value.code == 2
    assert "invalid choice: 'ruin'" in capsys.readouterr().err


def test_a_node_id_that_run_has_printed_can_be_given_to_it(tmp_path, monkeypatch):
    from gradbench.cli import _in_suites
    from gradbench.protocol.discovery import suites

    monkeypatch.chdir(tmp_path)
    printed = "test_parity.py::parity-d5-weight2[adam]"
    assert _in_suites(printed) == f"{suites()}/{printed}"
    assert _in_suites(f"../somewhere/{printed}") == f"{suites()}/{printed}"
    left = ("--ignore=suites/test_parity.py", "--ignore-glob=*/test_parity.py")
    for other in ("-k", "parity", "--optimizer=my.py:A", "test_nothing.py::a", *left):
        assert _in_suites(other) == other
    assert _in_suites("test_parity.py") == f"{suites()}/test_parity.py"
    (tmp_path / "test_parity.py").write_text("")
    assert _in_suites(printed) == printed


@pytest.mark.parametrize(
    "named", ["bench", "bench/test_mine.py", "bench/test_mine.py::own-d5[adam]"]
)
def test_run_runs_what_is_named_and_nothing_else(tmp_path, monkeypatch, capsys, named):
    """A value of an option is no name, though it be a folder that exists."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "bench" / "test_mine.py").write_text((HERE / "own_suite.py").read_text())
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("test_mine", None)  # of another folder
    words = ["--optimizer", "adam", "--collect-only", "-q", "--gb-report-dir", "out"]
    assert main(["run", *words, named]) == 0
    found = [line for line in capsys.readouterr().out.splitlines() if "::" in line]
    assert 1 <= len(found) <= 3
    assert all(line.startswith("bench/test_mine.py::own-d") for line in found)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = bench\n")
    sys.modules.pop("test_mine", None)
    assert main(["run", *words]) == 0
    assert "test_parity.py::parity-d5-weight2" in capsys.readouterr().out


def test_the_command_is_a_module_too():
    ran = subprocess.run(
        [sys.executable, "-m", "gradbench", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("gradbench ")


def test_every_answer_is_one_json_document_that_the_page_for_programs_describes(capsys, real_run):
    """docs/agents.md names the keys."""
    assert main(["list", "--format=json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"cases", "optimizers", "architectures"}
    assert {"case", "family", "section", "setting", "budget", "why"} <= set(found["cases"][0])
    assert {"paper", "adam"} <= set(found["optimizers"])
    assert main(["history", str(real_run.parent), "--format=json"]) == 0
    traced = json.loads(capsys.readouterr().out)
    assert {"optimizer", "settings", "runs"} == set(traced[0])
    assert {"run", "verdict", "changed", "ratio", "p", "cases"} <= set(traced[0]["runs"][0])


def test_files_that_are_written_are_named_in_one_json_document(capsys, real_run, tmp_path):
    out = tmp_path / "out"
    assert main(["report", str(real_run), f"--output={out}", "--format=json"]) == 0
    found = json.loads(capsys.readouterr().out)["files"]
    assert found[0] == str(out / "report.md")
    assert {Path(each) for each in found} <= set(out.iterdir())
    run = f"{real_run}:adam:lr=1e-5"
    assert main(["figures", run, f"--output={out}", "--format=json"]) == 0
    drawn = json.loads(capsys.readouterr().out)["files"]
    assert {Path(each).suffix for each in drawn} == {".pdf"}
    assert {Path(each) for each in drawn} <= set(out.iterdir())


def test_checks_as_json_have_the_five_lines_of_what_fails(capsys, tmp_path, monkeypatch):
    (tmp_path / "still_lab.py").write_text(
        "import torch\nclass Still(torch.optim.SGD):\n    def step(self, closure=None): pass\n"
    )
    monkeypatch.setattr(checks, "CHECKS", checks.CHECKS[:3])
    assert main(["check", f"{tmp_path}/still_lab.py:Still", "--format=json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    by_name = {each["check"]: each for each in found["checks"]}
    assert by_name["constructs"]["holds"] is True
    assert by_name["moves parameters"]["holds"] is False
    assert len(by_name["moves parameters"]["reproduce"]) == 5
