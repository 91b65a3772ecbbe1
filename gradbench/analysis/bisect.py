"""Finds the commit of a git repository at which an optimizer's numbers changed or its pace fell."""

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gradbench.analysis.comparison import log_ratios, usable
from gradbench.analysis.moved import lines, moved
from gradbench.results.record import Record, or_zero
from gradbench.results.runs import load

FEW = 3
"""Maximum number of cases on which commits are tried once cases that moved are known."""

ORIGIN = """
import inspect, sys
from gradbench.optimizers.factory import resolve
print(inspect.getfile(resolve(sys.argv[1]).cls))
"""
"""Program that prints the file of an optimizer's class."""

Tried = list[Record] | None
"""The records of a commit; None where it could not be run."""


class BisectError(ValueError):
    """Nothing can be searched; the message is one line that says why."""


@dataclass(frozen=True)
class Search:
    """The commits of which one made the change, oldest first: one unless some could not be run.

    `moved` has a line for each case with other numbers, before and after.
    """

    suspects: list[str]
    moved: list[str]

    def plain(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self)


@dataclass
class Trials:
    """Runs an optimizer at commits of a repository, each once, in a work tree of its own."""

    repository: Path
    spec: str
    arguments: Sequence[str]
    say: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.runs = 0
        self.failed: dict[str, str] = {}
        self.folder = git(self.repository, "rev-parse", "--show-prefix")

    def __call__(self, commit: str, cases: Sequence[str] = ()) -> Tried:
        """Return the records of a commit on all cases, or on these; None where it cannot be run."""
        self.runs += 1
        self.say(f"run {self.runs}: {commit[:12]}")
        with tempfile.TemporaryDirectory() as scratch:
            tree, reports = Path(scratch, "tree"), Path(scratch, "reports")
            git(self.repository, "worktree", "add", "--detach", "--quiet", str(tree), commit)
            try:
                return self._run(commit, tree, reports, cases)
            finally:
                git(self.repository, "worktree", "remove", "--force", str(tree))

    def _run(self, commit: str, tree: Path, reports: Path, cases: Sequence[str]) -> Tried:
        if self.runs == 1:
            self._check_origin(tree)
        chosen = ["-k", " or ".join(cases)] if cases else []
        command = [sys.executable, "-m", "gradbench", "run", f"--optimizer={self.spec}"]
        command += ["--gb-gate=record", "--gb-probes=none", f"--gb-report-dir={reports}"]
        done = subprocess.run(  # noqa: S603
            [*command, *self.arguments, *chosen], **self._inside(tree), check=False
        )
        try:
            records = load(reports / "latest").records
        except ValueError:
            said = (done.stderr.strip() or done.stdout.strip() or "no output").split("\n")
            self.failed[commit] = said[-1][:200]
            return None
        wanted = [record for record in records if not cases or record.case in cases]
        if not usable(wanted) or any("crashed" in record.statuses for record in wanted):
            self.failed[commit] = next((r.reason for r in wanted if r.reason), "no case was run")
            return None
        return wanted

    def _inside(self, tree: Path) -> dict[str, Any]:
        """Return how a command is run in a work tree, in the folder that the user is in."""
        path = {"PYTHONPATH": path_of(tree)}
        folder = tree / self.folder
        where = folder if folder.is_dir() else tree
        return {"cwd": where, "env": os.environ | path, "capture_output": True, "text": True}

    def _check_origin(self, tree: Path) -> None:
        """Raise BisectError where the optimizer's source is not in the work tree."""
        command = [sys.executable, "-c", ORIGIN, self.spec]
        done = subprocess.run(command, **self._inside(tree), check=False)  # noqa: S603
        file = done.stdout.strip()
        if file and not Path(file).resolve().is_relative_to(tree.resolve()):
            raise BisectError(f"{self.spec} is in {file}, not in the repository {self.repository}")


def path_of(tree: Path) -> str:
    """Return the value of PYTHONPATH with which a work tree's own packages are imported."""
    mine = [str(tree), *([str(tree / "src")] if (tree / "src").is_dir() else [])]
    return os.pathsep.join([*mine, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)


def git(repository: Path, *arguments: str) -> str:
    """Return what git prints; raises BisectError with its first line where it fails."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(repository), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError:
        raise BisectError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().split("\n")[0] or "no message"
        raise BisectError(f"git {arguments[0]}: {said}") from None
    return done.stdout.strip()


def commits_between(repository: Path, good: str, bad: str) -> list[str]:
    """Return the first good commit and those after it up to the bad one, oldest first.

    Of a merge, the commits of its first parent's line are taken. Raises BisectError where the good
    commit does not come before the bad one.
    """
    first, last = (git(repository, "rev-parse", "--verify", f"{c}^{{commit}}") for c in (good, bad))
    found = git(repository, "rev-list", "--first-parent", "--reverse", f"{first}..{last}").split()
    if not found or git(repository, "merge-base", first, last) != first:
        raise BisectError(f"{good} is no ancestor of {bad}: no commits lie between")
    return [first, *found]


def changed(commits: Sequence[str], run: Callable[..., Tried]) -> Search:
    """Find the first commit with the last one's numbers: the last change before it.

    The first of `commits` is taken to differ and is only run if all others turn out equal. Commits
    are tried on a few cases that moved; the one that is found is run on all, and if others still
    differ there, the search goes on after it. Raises BisectError where the first commit does not
    differ, or the last one cannot be run.
    """
    last = _last(commits, run)
    cases: list[str] = []
    seen: list[str] = []
    start = 0

    def is_after(commit: str) -> bool | None:
        nonlocal cases, seen
        records = run(commit, cases)
        if records is None:
            return None
        different = moved(last, records)
        if different:
            seen = lines(different)
            cases = cases or cheapest([each.case for each in different], last)
        return not different

    while True:
        low, high = (start + place for place in _halve(commits[start:], is_after))
        if high == 0:
            raise BisectError(f"{commits[0][:12]} has the numbers of {commits[-1][:12]}: no change")
        known_whole = high == len(commits) - 1 or not cases
        left = [] if known_whole else moved(last, run(commits[high]) or [])
        if not left:
            return Search(list(commits[low + 1 : high + 1]), seen)
        start, seen = high + 1, lines(left)
        cases = cheapest([each.case for each in left], last)


def slower(commits: Sequence[str], run: Callable[..., Tried]) -> Search:
    """Find the first commit whose evaluations to target are nearer the last one's than the first's.

    In the mean of the logarithms, over the cases that got slower between the two; both are run.
    Raises BisectError where the last commit is not slower, or one of the two cannot be run.
    """
    last, first = _last(commits, run), run(commits[0])
    if first is None:
        raise BisectError(f"the first commit, {commits[0][:12]}, cannot be run")
    apart = _slowdowns(last, first)
    cases = sorted(apart, key=lambda case: -apart[case])[:FEW]
    if not cases or all(apart[case] <= 0 for case in cases):
        raise BisectError(f"{commits[-1][:12]} is not slower than {commits[0][:12]}")
    cases = [case for case in cases if apart[case] > 0]
    half = sum(apart[case] for case in cases) / 2

    def is_after(commit: str) -> bool | None:
        records = run(commit, cases)
        if records is None:
            return None
        found = _slowdowns(records, first)
        return sum(found.get(case, math.inf) for case in cases) > half

    later = commits[1:]
    low, high = _halve(later, is_after)
    shown = [line for line in lines(moved(last, first)) if any(case in line for case in cases)]
    return Search(list(later[low + 1 : high + 1]), shown)


def _last(commits: Sequence[str], run: Callable[..., Tried]) -> list[Record]:
    records = run(commits[-1])
    if records is None:
        raise BisectError(f"the last commit, {commits[-1][:12]}, cannot be run")
    return records


def _slowdowns(new: Sequence[Record], old: Sequence[Record]) -> dict[str, float]:
    """Return the mean logarithm of new over old evaluations of each case that both have."""
    ours, theirs = usable(new), usable(old)
    logs = {case: log_ratios(ours[case], theirs[case]) for case in ours if case in theirs}
    return {case: sum(each.values()) / len(each) for case, each in logs.items() if each}


def cheapest(cases: Sequence[str], records: Sequence[Record]) -> list[str]:
    """Return the `FEW` cases that took the fewest gradient evaluations."""
    spent = {
        record.case: sum(or_zero(trial.get("gradient_evaluations")) for trial in record.trials)
        for record in records
    }
    return sorted(cases, key=lambda case: spent.get(case, 0))[:FEW]


def _halve(commits: Sequence[str], is_after: Callable[[str], bool | None]) -> tuple[int, int]:
    """Return the place of the last commit before the change (-1: none) and of the first after it.

    The last commit is after it without being tried. One that cannot be run is left out, and its
    neighbours are tried.
    """
    low, high = -1, len(commits) - 1
    left_out: set[int] = set()
    while inner := [at for at in range(low + 1, high) if at not in left_out]:
        middle = (low + high) / 2
        at = min(inner, key=lambda place: abs(place - middle))
        verdict = is_after(commits[at])
        if verdict is None:
            left_out.add(at)
        elif verdict:
            high = at
        else:
            low = at
    return low, high
