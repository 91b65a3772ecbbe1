"""Random kills of the controller and of its processes: what is lost, doubled or corrupt afterwards.

    python benchmarks/soak.py [KILLS]

Runs a suite of 300 small cases in two processes, kills one of the three with SIGKILL at random
moments, looks at the files after each death of the controller, and continues with --gb-resume until
all cases are recorded; then anew, until so many kills (100) are done. Prints what it saw, and
exits 1 where a finished record was lost, a case came twice, or a line but the last was no record.
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

from gradbench.record import parse

CASES = 300
SUITE = f"""
import pytest
from gradbench.case import Case
from gradbench.record import Expectation

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
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
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
        controller = begin(folder, resume=bool(finished))
        while controller.poll() is None and kills.total() < wanted:
            time.sleep(choose.uniform(0.0, 12.0))
            processes = workers(controller.pid)
            draw = choose.random()
            if processes and draw < 0.75:
                with suppress(ProcessLookupError):
                    os.kill(choose.choice(processes), signal.SIGKILL)
                    kills["process"] += 1
            elif controller.poll() is None and (processes or draw > 0.95):
                controller.kill()
                kills["controller"] += 1
        controller.wait()
        found, seen = look(folder)
        torn += sum("not ended" in text for text in seen)
        wrong += [text for text in seen if "not ended" not in text]
        lost = [key for key, line in finished.items() if found.get(key) != line]
        wrong += [f"a finished record was lost: {key}" for key in lost]
        finished = found
        if len(finished) == CASES:
            runs, finished = runs + 1, {}
        print(f"{dict(kills)}, {len(found)} finished, {len(wrong)} wrong", flush=True)
    time.sleep(5)
    left = sum(b"spawn_main" in path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline"))
    print(f"{kills['controller']} controllers and {kills['process']} processes killed")
    print(f"in {time.monotonic() - began:.0f} s; {runs} runs of {CASES} cases came to their end,")
    print(f"{torn} files ended within a line, {left} processes left over")
    print("\n".join(wrong) or "no finished record lost, none doubled, no line corrupt")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:] or ["100"])[0])))
