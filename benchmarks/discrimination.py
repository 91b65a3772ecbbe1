"""How much each quick case tells about optimizers for its time, from the gallery's pages.

    python benchmarks/discrimination.py > docs/discrimination.md

Information is the gallery's: the entropy of passing or not over its optimizers. A case of which all
say the same is listed with what it is kept for.
"""

import re
import sys
from pathlib import Path

from tabulate import tabulate

from gradbench.protocol.case import Case
from gradbench.protocol.discovery import cases, suites
from gradbench.results.record import Expectation

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("gallery.md", "gallery-beyond.md")
ROW = re.compile(r"\| `([\w-]+)` +\| `([\d-]+)` +\| (-?[\d.]+) +\| ([\d.]+) +\|")
CONTRASTS = {
    "curves-linear-text": "shows what conditioning gains: compare curves-conditioned-text",
    "line-tuples-k3-endtoend": "shows what parts gain: compare line-tuples-k3-decomposition",
    "rotation-undamped": "the law says that gradient descent fails at every rate",
}
"""Cases that all optimizers fail, and what each is kept to show."""


def reason(case: Case) -> str:
    """Return what a case is kept for on which all optimizers agree; empty if for nothing."""
    if case.expectation is Expectation.MUST:
        return "must: what every optimizer has to solve"
    if case.expectation is Expectation.NEVER:
        return "never: what would be news"
    return CONTRASTS.get(case.id, "")


def main() -> None:
    """Print the page."""
    known = {case.id: case for case in cases([suites()], "quick") if case.takes_optimizer}
    found = {}
    for page in PAGES:
        for name, seeds, bits, seconds in ROW.findall((DOCS / page).read_text()):
            if name in known:
                found[name] = (seeds, max(0.0, float(bits)), float(seconds))
    rows = [
        (name, bits, seconds, bits / seconds) for name, (_, bits, seconds) in found.items() if bits
    ]
    rows.sort(key=lambda row: -row[3])
    alike = [
        (name, "all" if set(seeds) & set("123") else "none", reason(known[name]))
        for name, (seeds, bits, _) in found.items()
        if not bits
    ]
    print("# What each quick case tells about optimizers\n")
    print(
        "`python benchmarks/discrimination.py`, from [gallery.md](gallery.md) and "
        "[gallery-beyond.md](gallery-beyond.md): bits of information on which of 40 optimizers "
        "pass, and that over the seconds of training that sweep and seeds take. The two galleries "
        "ran apart, the second beside other work: its seconds are some half too many.\n"
    )
    heads = ("case", "bits", "seconds", "bits a second")
    print(tabulate(rows, heads, tablefmt="pipe", floatfmt=("", ".2f", ".1f", ".2f")))
    print("\n## Where all agree\n")
    print(tabulate(alike, ("case", "solved by", "kept for"), tablefmt="pipe"))
    if missing := sorted(set(known) - set(found)):
        print(f"\nNot in the gallery yet: {', '.join(missing)}.")
    for name, _, why in alike:
        if not why:
            print(f"{name}: all agree, and nothing keeps it", file=sys.stderr)


if __name__ == "__main__":
    main()
