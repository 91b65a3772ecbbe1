"""An interrupted run, continued: what it finished is taken over, if it is still what it was."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradbench.results.record import parse

OPTIMIZER = """
import torch
from helper_of_mine import rate

class Mine(torch.optim.SGD):
    def __init__(self, params, lr=0.01):
        super().__init__(params, lr=lr * rate)
"""


@pytest.fixture
def folder(pytester, own_suite):
    """A suite of three cases, an optimizer in a file, and a helper that it imports."""
    pytester.makepyfile(opt=OPTIMIZER, helper_of_mine="rate = 1.0\n")
    return pytester.path


def here(pytester, *options):
    arguments = ("test_own.py", "--optimizer=adam", "--gb-seeds=2", "--gb-report-dir=out")
    return pytester.runpytest_inprocess(*arguments, *options)


def process(folder, *options):
    command = [sys.executable, "-m", "pytest", "test_own.py", "--optimizer=./opt.py:Mine"]
    command += ["-p", "no:cacheprovider", "--gb-seeds=2", "--gb-report-dir=out", *options]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(folder, *options):
    with process(folder, *options) as running:
        said, _ = running.communicate(timeout=180)
    assert running.returncode == 0, said
    return said


@pytest.fixture
def latest(stored):
    return lambda folder: stored(Path(folder, "out"))


def test_what_is_finished_is_taken_over_and_the_rest_is_run(pytester, folder, latest):
    here(pytester, "-k", "d4 or d5")
    first, origin = latest(folder), Path(folder, "out", "latest").resolve()
    with (origin / "records.jsonl").open("a") as file:  # as one that is killed leaves it
        file.write('{"case": "own-d6", "fam')
    written = (origin / "records.jsonl").read_bytes()
    result = here(pytester, "--gb-resume")
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"2 of 3 cases taken over from {origin.name}"])
    again = latest(folder)
    assert again[:2] == first  # to the last digit, timings too
    assert [record["case"] for record in again] == ["own-d4", "own-d5", "own-d6"]
    assert (origin / "records.jsonl").read_bytes() == written
    assert json.loads(Path(folder, "out/latest/run.json").read_text())["resumed"] == origin.name
    result = here(pytester, f"--gb-resume={origin.name}", "--gb-seeds=1", "-k", "d4")
    result.stdout.fnmatch_lines(["0 of 1 cases taken over*"])  # other settings


@pytest.mark.proof
def test_an_edited_helper_makes_its_optimizer_run_again_and_no_learner(folder):
    run(folder)
    Path(folder, "helper_of_mine.py").write_text("rate = 0.5\n")
    assert "1 of 3 cases taken over" in run(folder, "--gb-resume")  # the learner knows no helper


@pytest.mark.proof
def test_a_killed_run_is_continued_with_nothing_lost(folder, latest):
    with process(folder, "--gb-engine=processes:2") as killed:
        file = Path(folder, "out", "latest", "records.jsonl")
        while not (file.exists() and file.read_bytes().count(b"\n")):
            assert killed.poll() is None
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    kept = latest(folder)
    assert f"{len(kept)} of 3 cases taken over" in run(folder, "--gb-resume")
    now = latest(folder)
    assert all(record in now for record in kept)
    assert [record["case"] for record in now] == ["own-d4", "own-d5", "own-d6"]


@pytest.mark.parametrize("name", ["nowhere", ".."])
def test_a_run_that_is_none_is_one_line(pytester, folder, name):
    result = here(pytester, f"--gb-resume={name}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --gb-resume={name}: there is no such run*"])


@pytest.mark.proof
def test_all_are_timed_again_at_the_end(pytester, folder, latest):
    here(pytester)
    before = latest(folder)
    here(pytester, "--gb-resume", "--gb-time")
    after = latest(folder)
    for old, new in zip(before, after, strict=True):
        assert old["timing"]["wall_seconds"] != new["timing"]["wall_seconds"]
        step = new["timing"]["seconds_per_step"]["mean"]
        for trial in new["trials"] if new["optimizer"] == "adam" else ():
            assert trial["seconds"] == pytest.approx(step * trial["gradient_evaluations"], rel=0.5)
        for record in (old, new):
            del record["timing"], record["tuning_cost"]
            for trial in record["trials"]:
                del trial["seconds"], trial["seconds_to_target"]
        assert old == new
    for line in Path(folder, "out/latest/records.jsonl").read_text().splitlines():
        parse(line)
