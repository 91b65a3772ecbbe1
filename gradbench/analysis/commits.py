"""Runs an optimizer at commits of a git repository."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradbench.analysis.comparison import usable
from gradbench.results.record import Record
from gradbench.results.runs import load

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
