"""A session that is asked to end says what it has; nothing outlives one that was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradbench.session.progress import LiveLine

SLOW = """
import os, time, torch

class Slow(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        with open("pids", "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(30)
        return super().step()
"""


def pids(pytester):
    """The processes that have begun a step."""
    file = pytester.path / "pids"
    return {int(line) for line in file.read_text().split()} if file.exists() else set()


def stepping(pytester, running, engine):
    """Whether a case is in its first step, and under processes the learner's record written."""
    if engine == "inline":
        return running.pid in pids(pytester)
    written = list(pytester.path.glob("reports/latest/records.jsonl"))
    return written and pids(pytester) - {running.pid}


@pytest.fixture
def session(pytester, own_suite):
    """Start a session whose first case, a learner, has ended, and whose others are under way."""
    started = []

    def start(engine):
        (pytester.path / "slow.py").write_text(SLOW)
        command = [sys.executable, "-m", "pytest", "test_own.py", "--optimizer=./slow.py:Slow"]
        command += ["--gb-seeds=2", "--gb-tune=0", "--gb-probes=none", f"--gb-engine={engine}"]
        # a shell's background job ignores some of them, and what it starts would inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        running = subprocess.Popen(
            command, cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(running)
        ends = time.monotonic() + 120
        while not stepping(pytester, running, engine):
            assert running.poll() is None
            assert time.monotonic() < ends
            time.sleep(0.05)
        return running

    yield start
    for running in started:
        running.kill()


def test_a_terminal_that_is_gone_ends_no_run(monkeypatch):
    """As when an ssh connection breaks: the reports are still to be written."""
    ours, theirs = os.openpty()
    monkeypatch.setattr(os, "dup", lambda _: theirs)
    monkeypatch.setattr(os, "isatty", lambda _: True)
    live = LiveLine()
    os.close(ours)
    with pytest.raises(OSError, match="Input/output error"):
        os.write(theirs, b"x")
    live.show("a case")
    live.close()


LONG = pytest.mark.proof


@pytest.mark.parametrize(
    ("engine", "number"),
    [
        ("inline", signal.SIGHUP),
        pytest.param("inline", signal.SIGTERM, marks=LONG),
        pytest.param("inline", signal.SIGINT, marks=LONG),
        pytest.param("processes:2", signal.SIGTERM, marks=LONG),
        pytest.param("processes:2", signal.SIGHUP, marks=LONG),
        pytest.param("processes:2", signal.SIGINT, marks=LONG),
    ],
)
def test_a_session_that_is_asked_to_end_writes_its_report(pytester, session, engine, number):
    running = session(engine)
    running.send_signal(number)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == pytest.ExitCode.INTERRUPTED, said
    assert list(pytester.path.glob("reports/latest/report.md"))
    assert "report: " in said
    if engine != "inline":
        assert "own-d6" in said  # it had ended


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_controller(pytester, session, number):
    running = session("processes:2")
    workers = pids(pytester) - {running.pid}
    assert workers
    running.send_signal(number)
    running.communicate(timeout=60)
    ends = time.monotonic() + 5
    while alive := [pid for pid in workers if Path(f"/proc/{pid}").exists() and is_alive(pid)]:
        assert time.monotonic() < ends, alive
        time.sleep(0.1)


def is_alive(pid):
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except (ProcessLookupError, FileNotFoundError):
        return False
