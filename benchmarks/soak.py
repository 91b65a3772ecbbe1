"""Signals to the controller and its processes at random moments: what is lost, doubled or corrupt.

    python benchmarks/soak.py [SIGNALS]

Runs a suite of 300 small cases in two processes, sends one of the three SIGKILL, SIGTERM or SIGHUP
at random moments, looks at the files and for processes left over whenever the controller has died,
and continues with --gb-resume until all cases are recorded. It repeats this until SIGNALS signals
(200 by default) are sent. Prints what it saw, and exits 1 where a finished record was lost, a case
came twice, a line but the last was no record, or a process outlived its controller by 5 seconds.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from gradbench.results.record import parse

CASES = 300
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
LONGEST = 5.0
"""Seconds between two signals, and that a process may outlive its controller."""

WORKER = b"gradbench.engines.worker_process"
"""What the command of a process that runs items holds."""

SUITE = f"""
import pytest
from gradbench.protocol.case import Case
from gradbench.results.record import Expectation

def cases(preset):
    for number in range({CASES}):
        yield Case(
            id=f"soak-{{number}}",
            scenario="gradbench.scenarios.parity:Parity",
            setting={{"d": 5, "weight": 2}},
            budget=200 + number,
            batch=32,
            expectation=Expectation.MAY,
        )

@pytest.mark.gradbench(cases=cases)
def test_soak(attempt):
    attempt()
"""


def begin(folder: Path, *, resume: bool) -> subprocess.Popen[bytes]:
    """Start a run, or go on with the last one."""
    command = [sys.executable, "-m", "pytest", "test_soak.py", "--optimizer=sgd", "-q"]
    command += ["--gb-engine=processes:2", "--gb-gate=record", "-p", "no:cacheprovider"]
    command += ["--gb-tune=0", "--gb-seeds=2", "--gb-probes=none"]
    command += ["--gb-resume"] if resume else []
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)  # noqa: S603


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(pid) for pid in task.read_text().split()]
    return found


def workers(parent: int) -> list[int]:
    """Return those of them that run items."""
    found = []
    for pid in children(parent):
        with suppress(OSError):
            if WORKER in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def look(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the finished records of the last run, by their keys, and what is wrong in its file."""
    file = folder / "reports" / "latest" / "records.jsonl"
    lines = file.read_bytes().split(b"\n") if file.exists() else [b""]
    wrong = [] if lines[-1] == b"" else ["a last line that was not ended"]
    finished, cases = {}, Counter()
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = parse(line.decode())
        except ValueError as error:
            wrong.append(f"line {number} is corrupt: {error}")
            continue
        cases[record.case] += 1
        if record.key:
            finished[record.key] = line.decode()
    wrong += [f"{case} came {count} times" for case, count in cases.items() if count > 1]
    return finished, wrong


def outlive(processes: set[int]) -> list[str]:
    """Return what is wrong where some of these processes are still there after a while."""
    ends = time.monotonic() + LONGEST
    left = processes
    while left and time.monotonic() < ends:
        time.sleep(0.1)
        left = {pid for pid in left if Path(f"/proc/{pid}/cmdline").exists() and is_worker(pid)}
    return [f"{len(left)} processes outlived their controller"] if left else []


def is_worker(pid: int) -> bool:
    """Whether a process runs items; a dead one that nobody has asked for has no command."""
    with suppress(OSError):
        return WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def main(wanted: int) -> int:
    """Kill until so many kills are done."""
    choose = random.Random(0)  # noqa: S311
    kills: Counter[str] = Counter()
    wrong: list[str] = []
    runs = torn = 0
    folder = Path(tempfile.mkdtemp())
    (folder / "test_soak.py").write_text(SUITE)
    finished: dict[str, str] = {}
    began = time.monotonic()
    while kills.total() < wanted:
        controller, seen_workers = begin(folder, resume=bool(finished)), set[int]()
        while controller.poll() is None and kills.total() < wanted:
            time.sleep(choose.uniform(0.0, LONGEST))
            processes = workers(controller.pid)
            seen_workers |= set(processes)
            draw, number = choose.random(), choose.choice(SIGNALS)
            if processes and draw < 0.6:
                with suppress(ProcessLookupError):
                    os.kill(choose.choice(processes), number)
                    kills[f"process {number.name}"] += 1
            elif controller.poll() is None and (processes or draw > 0.9):
                controller.send_signal(number)
                kills[f"controller {number.name}"] += 1
                with suppress(subprocess.TimeoutExpired):
                    controller.wait(LONGEST)
        controller.wait()
        wrong += outlive(seen_workers)
        found, seen = look(folder)
        torn += sum("not ended" in text for text in seen)
        wrong += [text for text in seen if "not ended" not in text]
        lost = [key for key, line in finished.items() if found.get(key) != line]
        wrong += [f"a finished record was lost: {key}" for key in lost]
        finished = found
        if len(finished) == CASES:
            runs, finished = runs + 1, {}
        print(f"{dict(kills)}, {len(found)} finished, {len(wrong)} wrong", flush=True)
    print(", ".join(f"{name}: {count}" for name, count in sorted(kills.items())))
    print(f"in {time.monotonic() - began:.0f} s; {runs} runs of {CASES} cases came to their end,")
    print(f"{torn} files ended within a line")
    fine = "no finished record lost, none doubled, no line corrupt, no process left over"
    print("\n".join(wrong) or fine)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:] or ["200"])[0])))
