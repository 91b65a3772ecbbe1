"""What many items cost, and what a run of many records costs to open.

    python benchmarks/scale.py items [COUNT]
    python benchmarks/scale.py records [COUNT]

`items` runs so many tiny cases (10,000) in two processes and holds the time of the run against the
cases' own: what is more went into handing out, recording and reporting. `records` writes a run of
so many records (100,000), a thousand cases by each optimizer, made from those of real trials, and
prints the seconds and the peak of memory of `gradbench report` and `gradbench compare` on it.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CASES = 1000
COMMAND = "import sys; from gradbench.cli import main; sys.exit(main())"
SUITE = """
import pytest
from gradbench.protocol.case import Case
from gradbench.results.record import Expectation

def cases(preset):
    for number in range({count}):
        yield Case(
            id=f"tiny-{{number}}",
            scenario="gradbench.scenarios.parity:Parity",
            setting={{"d": 5, "weight": 2}},
            budget={budget},
            batch=32,
            expectation=Expectation.MAY,
        )

@pytest.mark.gradbench(cases=cases)
def test_tiny(attempt):
    attempt()
"""


def run(folder: Path, count: int, budget: int, *options: str) -> float:
    """Run a suite of so many cases; return the seconds."""
    (folder / "test_tiny.py").write_text(SUITE.format(count=count, budget=budget))
    command = [sys.executable, "-m", "pytest", "test_tiny.py", "--optimizer=sgd", "-q"]
    command += ["--gb-gate=record", "-p", "no:cacheprovider", *options]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603
    return time.perf_counter() - began


def recorded(folder: Path) -> list[dict[str, Any]]:
    """Return the records of the last run."""
    text = (folder / "reports" / "latest" / "records.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def items(count: int) -> None:
    """Print what so many tiny items cost beside their own time."""
    folder = Path(tempfile.mkdtemp())
    quick = ("--gb-tune=0", "--gb-seeds=1", "--gb-probes=none", "--gb-engine=processes:2")
    seconds = run(folder, count, 40, *quick)
    own = sum(record["timing"]["case_seconds"] for record in recorded(folder))
    print(f"{count} items of {own / count * 1e3:.0f} ms: {own / 2:.1f} s on each of two processes")
    print(f"pytest, start to end: {seconds:.1f} s, {seconds / (own / 2) - 1:.1%} more")


def records(count: int) -> None:
    """Print what a run of so many records costs to open."""
    folder = Path(tempfile.mkdtemp())
    run(folder, 4, 600)
    real = recorded(folder)
    place = folder / "many"
    place.mkdir()
    about = json.loads((folder / "reports" / "latest" / "run.json").read_text(encoding="utf-8"))
    optimizers = [f"sgd:lr={number}" for number in range(1, count // CASES + 1)]
    (place / "run.json").write_text(json.dumps(about | {"optimizers": optimizers}))
    draw = random.Random(0)  # noqa: S311
    with (place / "records.jsonl").open("w", encoding="utf-8") as file:
        for optimizer in optimizers:
            for number in range(CASES):
                record = real[number % len(real)] | {"optimizer": optimizer}
                record["case"] = f"tiny-{number}"
                record["solved"] = draw.randint(0, record["seeds"])
                for place_of, trial in enumerate(record["trials"]):
                    solved = place_of < record["solved"]
                    trial["status"] = "solved" if solved else "unsolved"
                    trial["evaluations_to_target"] = draw.randint(1, 600) if solved else None
                file.write(json.dumps(record) + "\n")
    size = (place / "records.jsonl").stat().st_size
    print(f"{count} records, {size / 2**20:.0f} MiB, {size / count / 1e3:.1f} kB each")
    for words in (("report", "many"), ("compare", *(f"many:{name}" for name in optimizers[:2]))):
        print("gradbench", *words, flush=True)
        began = time.perf_counter()
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", COMMAND, *[w.replace("many", str(place)) for w in words]],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
        )
        _, status, used = os.wait4(pid, 0)
        seconds = time.perf_counter() - began
        print(f"   {seconds:.1f} s, {used.ru_maxrss / 2**20:.2f} GiB, exit code {status >> 8}")
        sys.stdout.flush()
    for page in sorted(place.glob("report.*")):
        print(f"   {page.name}: {page.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    what, *count = [*sys.argv[1:], "items"]
    number = int(count[0]) if count[0].isdecimal() else 0
    if what == "records":
        records(number or 100_000)
    else:
        items(number or 10_000)
