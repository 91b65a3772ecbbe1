"""docs/options.md: which constructor options change a step, for every optimizer that can be named.

    python benchmarks/options.py [NAME ...]

Some twenty minutes on one core. With names it prints their rows only.
"""

import sys
from pathlib import Path

import torch
from tabulate import tabulate

from gradbench.checks.options import STEPS, live_options
from gradbench.optimizers.factory import names, resolve
from gradbench.optimizers.quiet import quiet
from gradbench.text import error_line

PAGE = Path(__file__).parents[1] / "docs" / "options.md"
HEADERS = ("optimizer", "change its steps", "only with another", "change nothing", "raise")


def row(name: str) -> list[str]:
    """Return the table's row of an optimizer; what it raises where it cannot be tried."""
    try:
        with quiet():
            found = live_options(resolve(name))
    except Exception as error:  # noqa: BLE001  # whatever an optimizer raises
        why = error_line(error).rpartition("Error: ")[2]
        return [name, f"not tried: {why[:80]}", "", "", ""]
    needs = ", ".join(f"{option} ({other})" for option, other in found.needs.items())
    return [name, ", ".join(found.live), needs, ", ".join(found.dead), ", ".join(found.raises)]


def main() -> None:
    """Write the page, or print the rows of the names that are given."""
    torch.set_num_threads(1)
    chosen = sys.argv[1:] or names()
    rows = []
    for number, name in enumerate(chosen):
        rows.append(row(name))
        print(f"{number + 1}/{len(chosen)} {name}", file=sys.stderr)
    table = tabulate(rows, HEADERS, tablefmt="github", disable_numparse=True)
    if sys.argv[1:]:
        print(table)
        return
    PAGE.write_text(
        "# Which options do anything\n\n"
        f"For every optimizer that can be named, by `python benchmarks/options.py`, torch "
        f"{torch.__version__}: the options of its constructor that change a bit of a parameter in "
        f"{STEPS} steps on three small problems, alone or only beside another option; those that "
        "change none; and those whose other values raise. Not tried are the learning rate, options "
        "whose default suggests no other value (None, text), and ways of computing (`foreach`, "
        "`fused`). An option may change nothing here and something elsewhere: after more steps, or "
        f"on larger matrices.\n\n{table}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
