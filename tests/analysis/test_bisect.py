"""The search for a commit: every place of the change, commits that cannot be run, a repository."""

import json
import math
import subprocess

import pytest

from gradbench.analysis.bisect import changed, slower
from gradbench.analysis.commits import BisectError, commits_between
from gradbench.cli import main

NAMES = [f"{number:040x}" for number in range(65)]


def runner(record, commits, times, broken=()):
    """Return a function that returns a commit's records, and the list of its calls.

    `times` has the evaluations to target of the case `moving` at each commit, on all five seeds.
    """
    tried = []

    def run(commit, cases=()):
        tried.append(commit)
        at = commits.index(commit)
        if at in broken:
            return None
        still = record("still", times=(10, 20, 30, 40, 50))
        return [still, record("moving", times=[times[at]] * 5)]

    return run, tried


@pytest.mark.parametrize("size", [2, 3, 4, 7, 64])
def test_the_change_is_found_wherever_it_is_in_few_runs(record, size):
    commits = NAMES[:size]
    for at in range(1, size):
        run, tried = runner(record, commits, [10] * at + [20] * (size - at))
        assert changed(commits, run).suspects == [commits[at]]
        assert len(set(tried)) <= 1 + math.ceil(math.log2(size))
        assert len(tried) <= len(set(tried)) + 1  # what is found is run again, on all cases
    run, tried = runner(record, NAMES[:4], [10, 20, 20, 20])
    changed(NAMES[:4], run)
    assert tried == [NAMES[3], NAMES[1], NAMES[0]]  # it was run on all cases at once
    run, tried = runner(record, NAMES[:64], [10] * 9 + [20] * 55)
    changed(NAMES[:64], run)
    assert len(tried) <= 8


@pytest.mark.parametrize("later", range(5, 8))
def test_a_later_change_of_a_costly_case_is_found_after_that_of_cheap_ones(record, later):
    """Commits are tried on the three cheapest cases that moved, none of which has that change."""
    commits = NAMES[:8]

    def run(commit, cases=()):
        at = commits.index(commit)
        costly = record("costly", times=[90 if at < later else 95] * 5)
        cheap = [record(f"cheap{n}", times=[(10 if at < 4 else 20) + n] * 5) for n in range(3)]
        return [one for one in [costly, *cheap] if not cases or one.case in cases]

    found = changed(commits, run)
    assert found.suspects == [commits[later]]
    assert found.moved == ["a: costly: solved 5/5, evaluations 90 -> 95, rate 0.1"]


def test_of_two_changes_the_last_is_found_and_with_slower_the_one_that_cost_time(record):
    commits = NAMES[:16]
    times = [10] * 4 + [11] * 3 + [40] * 5 + [41] * 4
    run, tried = runner(record, commits, times)
    found = changed(commits, run)
    assert found.suspects == [commits[12]]
    assert found.moved == ["a: moving: solved 5/5, evaluations 40 -> 41, rate 0.1"]
    run, tried = runner(record, commits, times)
    assert slower(commits, run).suspects == [commits[7]]
    assert len(tried) <= 6


@pytest.mark.parametrize("broken", [{3}, {4}, {3, 4, 5}, {1, 2, 6}])
def test_what_cannot_be_run_is_left_out_and_stays_suspect(record, broken):
    commits = NAMES[:8]
    for at in set(range(1, 7)) - broken:
        run, _ = runner(record, commits, [10] * at + [20] * (8 - at), broken)
        suspects = changed(commits, run).suspects
        assert commits[at] == suspects[-1]
        assert {commits.index(each) for each in suspects[:-1]} <= broken


def test_what_cannot_be_searched_is_one_line(record):
    commits = NAMES[:8]
    for search in (changed, slower):
        with pytest.raises(BisectError, match=r"no change|is not slower"):
            search(commits, runner(record, commits, [10] * 8)[0])
        with pytest.raises(BisectError, match=r"the last commit, 0*, cannot be run"):
            search(commits, runner(record, commits, [10] * 8, {7})[0])
    with pytest.raises(BisectError, match=r"the first commit, 0*, cannot be run"):
        slower(commits, runner(record, commits, [10] * 8, {0})[0])


# A repository

CLASS = """
import torch
class Mine(torch.optim.SGD):
    def __init__(self, parameters, lr={lr}):
        super().__init__(parameters, lr=lr, momentum={momentum})
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose optimizer loses half its rate in its fourth commit of six."""
    monkeypatch.chdir(tmp_path)

    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True)

    git("init", "-q")
    for number, lr in enumerate((0.1, 0.1, 0.1, 0.05, 0.05, 0.05), 1):
        (tmp_path / "mine.py").write_text(CLASS.format(lr=lr, momentum=0.9) + f"# {number}\n")
        git("add", ".")
        git("commit", "-q", "-m", f"commit {number} <b>")
    return tmp_path


@pytest.mark.proof
def test_a_repository_is_searched_and_left_as_it_was(repository, capsys):
    arguments = ["bisect", "./mine.py:Mine", "--good=HEAD~5"]
    short = ["--", "-k", "parity-d5", "--gb-tune=0", "--gb-seeds=3"]
    assert main([*arguments, *short]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("commit 4 <b>")
    assert "./mine.py:Mine: parity-d5-weight2: solved 3/3, evaluations " in said[1]
    assert said[-1] == "3 of 6 commits run"
    trees = subprocess.run(["git", "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(trees.stdout.splitlines()) == 1
    assert main([*arguments, "--slower", "--format=json", *short]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [line.partition(" commit ")[2] for line in found["commits"]] == ["4 <b>"]
    assert found["runs"] == 4
    assert found["not_run"] == {}


def test_mistakes_are_one_line(repository, capsys):
    for words, says in (
        (["--good=nowhere"], "git rev-parse: fatal: Needed a single revision"),
        (["--good=HEAD"], "HEAD is no ancestor of HEAD: no commits lie between"),
        (["--good=HEAD", "--bad=HEAD~2"], "HEAD is no ancestor of HEAD~2"),
    ):
        assert main(["bisect", "./mine.py:Mine", *words]) == 4
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"gradbench bisect: {says}")
    assert len(commits_between(repository, "HEAD~3", "HEAD")) == 4
