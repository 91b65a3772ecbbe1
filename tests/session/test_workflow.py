"""The action, and the workflow in docs/ci that uses it: their commands, run as a runner would.

With the installation, into an environment of its own, by `make accept`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / ".github/actions/gradbench/action.yml").read_text())
WORKFLOW = yaml.safe_load((ROOT / "docs/ci/gradbench.yml").read_text())
STEPS = ACTION["runs"]["steps"]
QUICK = "-k parity-d5 --gb-seeds=7 --gb-tune=0 --gb-probes=none"

OPTIMIZER = """
import torch
class Mine(torch.optim.SGD):
    def __init__(self, parameters, lr={lr}):
        super().__init__(parameters, lr=lr, momentum=0.9)
"""

REWRITTEN = """
import torch
class Mine(torch.optim.Optimizer):
    def __init__(self, parameters, lr=0.1):
        super().__init__(parameters, {"lr": lr})
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                old = state.get("velocity")
                state["velocity"] = p.grad.clone() if old is None else old.mul_(0.9).add_(p.grad)
                p.add_(state["velocity"], alpha=-group["lr"])
"""


@pytest.fixture
def repository(tmp_path):
    """A repository with one optimizer, and a stand-in for GitHub's command line."""
    tools = tmp_path / "tools"
    tools.mkdir()
    gh = tools / "gh"
    gh.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > gh-called\ncp "$5" gh-body\n')
    gh.chmod(0o755)
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "mine.py").write_text(OPTIMIZER.format(lr=0.1))
    return folder


def environment(folder, **more):
    own = folder.parent / "venv" / "bin"
    binaries = own if own.is_dir() else Path(sys.executable).parent
    path = f"{folder.parent / 'tools'}:{binaries}:/usr/local/bin:/usr/bin:/bin"
    names = {"OPTIMIZER": "./mine.py:Mine", "BASELINE": "base.json", "ARGUMENTS": QUICK}
    names |= {"GATE": "baseline", "GRADBENCH": f"file://{ROOT}"}
    summary = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "PULL": "https://host/pull/1"}
    return os.environ | names | summary | {"PATH": path} | more


def run(command, folder):
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def follow(folder, *, install=False):
    """Run the steps in order, as a runner does; return each one's exit code by its name."""
    codes, failed = {}, False
    for step in STEPS:
        if "run" not in step or (step["name"] == "Install" and not install):
            continue
        if failed and "always()" not in step.get("if", ""):
            continue
        codes[step["name"]] = run(step["run"], folder).returncode
        failed = failed or codes[step["name"]] != 0
    return list(codes.values())


@pytest.mark.proof
def test_what_is_unchanged_passes_and_a_broken_optimizer_fails_and_still_reports(repository):
    update = "gradbench run --optimizer=$OPTIMIZER --gb-baseline=$BASELINE --gb-update-baseline "
    assert run(update + QUICK, repository).returncode == 0
    assert follow(repository) == [0, 0, 0]
    report = (repository / "reports" / "latest" / "report.md").read_text()
    assert (repository / "summary.md").read_text() == report
    assert (repository / "gh-body").read_text() == report
    called = (repository / "gh-called").read_text().split()
    assert called[:3] == ["pr", "comment", "https://host/pull/1"]
    assert len(list(repository.glob("reports/2*/report.html"))) == 2

    (repository / "mine.py").write_text(OPTIMIZER.format(lr=0.0001))
    assert follow(repository) == [1, 0, 0]
    assert "regressed" in (repository / "gh-body").read_text()


PROJECT = """
[project]
name = "mine"
version = "1"
dependencies = ["torch"]
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
py-modules = ["mine"]
"""


@pytest.mark.accept
def test_it_installs_into_a_fresh_environment_and_runs_there(repository, monkeypatch):
    """From this checkout, with nothing of this environment but which versions to take."""
    subprocess.run([sys.executable, "-m", "venv", repository.parent / "venv"], check=True)
    (repository / "pyproject.toml").write_text(PROJECT)
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONSTRAINT", str(ROOT / "constraints.txt"))
    monkeypatch.setenv("PIP_RETRIES", "0")  # not every network has the index
    (install,) = [step["run"] for step in STEPS if step.get("name") == "Install"]
    installed = run(install, repository)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    update = "gradbench run --optimizer=$OPTIMIZER --gb-baseline=$BASELINE --gb-update-baseline "
    first = run(update + QUICK, repository)
    assert first.returncode == 0, first.stdout + first.stderr
    assert follow(repository) == [0, 0, 0]
    (repository / "mine.py").write_text(REWRITTEN)
    assert follow(repository) == [0, 0, 0]
    (repository / "mine.py").write_text(OPTIMIZER.format(lr=0.0001))
    assert follow(repository) == [1, 0, 0]
    assert "regressed" in (repository / "gh-body").read_text()


def test_every_step_is_known_and_the_install_asks_for_what_is_needed():
    assert [step.get("name", step.get("uses")) for step in STEPS] == [
        "actions/setup-python@v5",
        "Install",
        "Run and hold against the baseline",
        "Summary",
        "Report",
        "Comment",
    ]
    assert '"pytest-gradbench[report] @ $GRADBENCH"' in STEPS[1]["run"]
    assert all("always()" in step["if"] for step in STEPS[3:])
    assert all(step["shell"] == "bash" for step in STEPS if "run" in step)  # a composite needs it


def test_the_workflow_gives_the_action_what_it_takes_and_the_action_uses_all_of_it():
    checkout, use = WORKFLOW["jobs"]["gradbench"]["steps"]
    assert checkout == {"uses": "actions/checkout@v4"}
    assert use["uses"].split("@")[0].endswith("/.github/actions/gradbench")
    given, taken = use["with"], ACTION["inputs"]
    assert set(given) <= set(taken)
    assert {name for name, about in taken.items() if about.get("required")} <= set(given)
    text = (ROOT / ".github/actions/gradbench/action.yml").read_text()
    assert all(f"inputs.{name}" in text for name in taken)
