"""The quick preset in whole: as it runs by default against one trial after another.

    python benchmarks/quick.py [PAIRS]

Runs `pytest suites --optimizer=adam` by turns as it is and with `--gb-engine=inline
--gb-stack=off`, checks that both give the same outcomes, and prints the seconds and the paired
ratios. Two more runs say what stacking and what the processes do by themselves.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

from gradbench.discover import suites

WAYS = {
    "as it is": (),
    "one after another": ("--gb-engine=inline", "--gb-stack=off"),
    "stacked, one process": ("--gb-engine=inline",),
    "processes, not stacked": ("--gb-stack=off",),
}


def once(options: tuple[str, ...], folder: Path) -> tuple[float, dict[str, str]]:
    """Run the preset; return the seconds and each case's outcome."""
    command = [sys.executable, "-m", "pytest", str(suites()), "--optimizer=adam", "-q"]
    begin = time.perf_counter()
    subprocess.run(  # noqa: S603  # this Python, our own suites
        [*command, *options, f"--gb-report-dir={folder}"], check=True, capture_output=True
    )
    seconds = time.perf_counter() - begin
    lines = (folder / "latest" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return seconds, {record["case"]: record["outcome"] for record in found}


def main() -> None:
    """Print the table."""
    pairs = int((sys.argv[1:] or ["3"])[0])
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(pairs):
            for name in list(WAYS)[: 4 if number == 0 else 2]:
                took, outcomes = once(WAYS[name], Path(folder))
                seconds[name].append(took)
                print(f"{name}: {took:.0f} s", file=sys.stderr, flush=True)
                if name == "as it is":
                    wanted = outcomes
                differ = [case for case in wanted if outcomes[case] != wanted[case]]
                if differ:
                    print(f"other outcomes {name}: {', '.join(differ)}")
    base = seconds["one after another"]
    rows = []
    for name, found in seconds.items():
        ratios = [one / took for one, took in zip(base, found, strict=False)]
        rows.append([name, f"{statistics.median(found):.0f}", f"{statistics.median(ratios):.2f}"])
    print(tabulate(rows, ["", "s", "times faster"], tablefmt="github"))


if __name__ == "__main__":
    main()
