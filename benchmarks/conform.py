"""benchmarks/conform.md: every optimizer of torch in every form, and every optimizer with itself.

    python benchmarks/conform.py [NAME ...]

Some twenty minutes on one core. With names it prints their rows only.
"""

import sys
from collections import Counter
from pathlib import Path

import torch
from tabulate import tabulate

from gradbench.checks.conform.comparison import NothingComparedError, conform
from gradbench.checks.conform.forms import FORMS, NotHereError, against
from gradbench.optimizers.factory import names, resolve
from gradbench.spec import SpecError
from gradbench.text import error_line

PAGE = Path(__file__).with_name("conform.md")
STEPS = 30
"""Steps of a self-pair; the forms take the command's hundred."""


def form(name: str, which: str) -> str:
    """Return how an optimizer compares with itself in a form, as the table says it."""
    try:
        found = against(name, which)
    except NotHereError:
        return "-"
    except NothingComparedError as error:
        return f"refused: {error_line(error)[-60:]}"
    if found.same:
        return "same"
    assert found.first is not None
    return f"differs: {found.first.problem}: {found.first.said()}"


def itself(name: str) -> str:
    """Return how an optimizer compares with itself."""
    try:
        found = conform(name, name, steps=STEPS)
    except (SpecError, NothingComparedError) as error:
        why = error_line(error).rpartition("Error: ")[2]
        return f"not compared: {why[:100]}"
    return "same" if found.same else f"differs: {found.first and found.first.said()}"


def main() -> None:
    """Write the page, or print the rows of the names that are given."""
    torch.set_num_threads(1)
    chosen = sys.argv[1:] or names()
    forms, pairs = [], {}
    for number, name in enumerate(chosen):
        pairs[name] = itself(name)
        if not pairs[name].startswith("not compared") and resolve(name).of_torch:
            forms.append([name, *(form(name, which) for which in FORMS)])
        print(f"{number + 1}/{len(chosen)} {name}: {pairs[name]}", file=sys.stderr)
    table = tabulate(forms, ["", *FORMS], tablefmt="github")
    counts = Counter(said.partition(":")[0] for said in pairs.values())
    others = [f"- `{name}`: {said}" for name, said in pairs.items() if said != "same"]
    page = (
        "# Every optimizer against itself\n\n"
        f"By `python benchmarks/conform.py`, torch {torch.__version__}, on a CPU.\n\n"
        f"## In other forms\n\n`-`: it has no such form, or it needs an accelerator. What "
        "differs, differs in torch: LBFGS takes one group only, torch 2.13's cannot be copied, and "
        "its steps amplify what float32 rounds; Muon orthogonalises in bfloat16, where a compiled "
        f"step rounds otherwise.\n\n{table}\n\n"
        f"## By its own name, {STEPS} steps\n\n"
        f"{', '.join(f'{count} {said}' for said, count in counts.items())}.\n\n"
    ) + "\n".join([*others, ""])
    if sys.argv[1:]:
        print(page)
    else:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
