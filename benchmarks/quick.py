"""The quick preset in whole: as it runs by default against one trial after another.

    python benchmarks/quick.py [ROUNDS] [WAY...]

Runs `pytest suites --optimizer=adam` by turns as it is and in each other way, checks that all give
the same outcomes, and prints the seconds and how many times as long each way took, a median over
the rounds. Without ways: one trial after another in one process (`alone`).
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

from gradbench.protocol.discovery import suites

PLAIN = "as it is"
WAYS = {
    PLAIN: (),
    "alone": ("--gb-engine=inline", "--gb-stack=off"),
    "stacked": ("--gb-engine=inline",),  # in one process
    "processes": ("--gb-engine=processes:2", "--gb-stack=off"),  # not stacked
    "dask": ("--gb-engine=dask:local:2",),
}


def once(options: tuple[str, ...], folder: Path) -> tuple[float, dict[str, str]]:
    """Run the preset; return the seconds and each case's outcome."""
    command = [sys.executable, "-m", "pytest", str(suites()), "--optimizer=adam", "-q"]
    command += ["-p", "no:hypothesispytest"]  # as users have it: it belongs to our own tests
    begin = time.perf_counter()
    subprocess.run(  # noqa: S603  # this Python, our own suites
        [*command, *options, f"--gb-report-dir={folder}"], check=True, capture_output=True
    )
    seconds = time.perf_counter() - begin
    lines = (folder / "latest" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return seconds, {record["case"]: record["outcome"] for record in found}


def main(rounds: int, names: list[str]) -> None:
    """Print the table."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    wanted: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name in names:
                took, outcomes = once(WAYS[name], Path(folder))
                seconds[name].append(took)
                print(f"{name}: {took:.0f} s", file=sys.stderr, flush=True)
                wanted = wanted or outcomes
                differ = [case for case in wanted if outcomes[case] != wanted[case]]
                if differ:
                    print(f"other outcomes {name}: {', '.join(differ)}")
    rows = []
    for name, found in seconds.items():
        ratios = [took / one for took, one in zip(found, seconds[PLAIN], strict=True)]
        rows.append([name, f"{statistics.median(found):.0f}", f"{statistics.median(ratios):.2f}"])
    print(tabulate(rows, ["", "s", "times as long"], tablefmt="github"))


if __name__ == "__main__":
    rounds, *names = sys.argv[1:] or ["3"]
    if not rounds.isdecimal() or rounds == "0" or not WAYS.keys() >= set(names):
        sys.exit(f"quick.py [ROUNDS] [WAY...]: a number, and ways of {', '.join(WAYS)}")
    main(int(rounds), [PLAIN, *(names or ["alone"])])
