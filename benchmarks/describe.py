"""The table of docs/optimizers.md: what the steps of every optimizer depend on.

    python benchmarks/describe.py [NAME ...]

Some twenty minutes on one core, with nothing else to do for the column of times. With names it
prints their rows only. All limits are measured, however long they take.
"""

import math
import sys
from pathlib import Path

import torch
from tabulate import tabulate

from gradbench.checks.describe.card import Property, card
from gradbench.optimizers.factory import names
from gradbench.spec import SpecError

PAGE = Path(__file__).parents[1] / "docs" / "optimizers.md"
TITLE = "## What their steps depend on"
CHANGES = ("permutation", "sign flips", "translation", "rotation", "loss times 100")
COLUMNS = {
    "a gradient's entry changes": "an entry changes",
    "deterministic": "deterministic",
    "first step ~ gradient to the power": "first step's power",
    "steps of memory": "memory",
    "largest stable rate x curvature": "stable rate",
    "the same, gradients 1 late": "one late",
    "the same, preconditioned by eps = 1": "preconditioned",
    "step's time over the memory's, 1024 x 1024, float32": "time",
    "state, bytes a parameter, 1024 x 1024, float32": "state",
}


def row(name: str) -> list[str]:
    """Return the table's row of an optimizer."""
    try:
        found = {each.name: each for each in card(name, seconds=math.inf)}
    except SpecError as error:
        return [name, f"not tried: {str(error)[:90]}"]
    refused = next((each for each in found.values() if _refused(each)), None)
    follows = [
        change
        for change in CHANGES
        if any(name.endswith(change) and each.value for name, each in found.items())
    ]
    if refused and not follows:
        return [name, str(refused.value)[:100]]
    shown = [found[key].shown() if key in found else "" for key in COLUMNS]
    power = [*COLUMNS].index("first step ~ gradient to the power")
    if shown[power] not in {"", "-"}:
        shown[power] = f"{abs(round(float(shown[power]), 2)):g}"
    return [name, ", ".join(follows) or "none", *shown]


def _refused(each: Property) -> bool:
    return str(each.value).startswith("refused")


def main() -> None:
    """Write the table into the page, or print the rows of the names that are given."""
    torch.set_num_threads(1)
    chosen = sys.argv[1:] or names()
    rows = []
    for number, name in enumerate(chosen):
        rows.append(row(name))
        print(f"{number + 1}/{len(chosen)} {' | '.join(rows[-1])}", file=sys.stderr)
    headers = ("optimizer", "follows", *COLUMNS.values())
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    if sys.argv[1:]:
        print(table)
        return
    before = PAGE.read_text(encoding="utf-8").partition(f"\n{TITLE}\n")[0]
    PAGE.write_text(
        f"{before.rstrip()}\n\n{TITLE}\n\n"
        f"By `python benchmarks/describe.py`, torch {torch.__version__}, one core; "
        "[docs/conformance.md](conformance.md) says what is measured and how. Follows: the changes "
        "of coordinates or of the loss that its path follows. First step's power: 1 for "
        "the gradient, 0 for its sign. Memory: steps for which a gradient moves it; - for over "
        "10,000. Stable rate: the largest on a curvature of 1, with gradients one step late, and "
        "over the preconditioner; - where it has no limit. Time: a step's over the memory's, on "
        f"1024 x 1024 numbers, rough where other work ran; state: its bytes a parameter."
        f"\n\n{table}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
