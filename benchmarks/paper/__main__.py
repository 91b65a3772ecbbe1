"""docs/paper.md: every claim, figure, theorem and lemma of the paper, and what reproduces.

    python benchmarks/paper             # measures what is missing, then writes the page
    python benchmarks/paper figure-4    # measures these rows again, then writes the page

Measurements stand in benchmarks/paper.jsonl, a line per row, of which the latest counts. A verdict
is computed from the numbers, never written down.
"""

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime

import section2
import section3
import section4
import section5
import torch
from common import HERE, NO, OURS, PART, UNTESTED, YES
from tabulate import tabulate

from gradbench.streams import one_thread

FILE, PAGE = HERE / "paper.jsonl", HERE.parent / "docs" / "paper.md"
ROWS = (*section2.ROWS, *section3.ROWS, *section4.ROWS, *section5.ROWS)
READ = {"figure-3", "escape"}
"""Rows that are read from another file each time."""


def known() -> dict[str, dict[str, object]]:
    """Return the latest measurement of each row."""
    lines = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else []
    return {found["id"]: found for found in map(json.loads, lines)}


def escaped(text: str) -> str:
    """Return a cell's text: what is between backticks or double stars stays as it is."""
    if text.startswith(("`", "**")):
        return text
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def page(found: dict[str, dict[str, object]]) -> str:
    """Return the page as Markdown."""
    counts = [str(found[row.id]["verdict"]) for row in ROWS]
    verdicts = (v for v in (YES, PART, NO, UNTESTED, OURS) if v in counts)
    tally = ", ".join(f"{counts.count(v)} {v}" for v in verdicts)
    rows = []
    for row in ROWS:
        one = found[row.id]
        reason = f" ({one['reason']}.)" if one["reason"] else ""
        cost = f"{float(str(one['seconds'])):.0f} s" if row.id not in READ else "hours"
        rows.append(
            [
                row.section,
                row.says,
                f"`{row.id}`",
                f"**{one['verdict']}**",
                f"{one['measured']}.{reason}",
                cost,
                one["date"],
            ]
        )
    headers = ("section", "the paper says", "row", "verdict", "measured", "cost", "date")
    rows = [[escaped(cell) for cell in cells] for cells in rows]
    table = tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
    return (
        "# What of the paper reproduces\n\n"
        "Shalev-Shwartz, Shamir, Shammah, *Failures of Gradient-Based Deep Learning*, ICML 2017,\n"
        "[arXiv:1703.07950](https://arxiv.org/abs/1703.07950), in its own order; sections are\n"
        f"that version's. {tally}.\n\n"
        "`python benchmarks/paper ROW` measures a row again and writes this page, with the\n"
        "verdict that follows from its numbers; without a row it measures what is missing. Scores\n"
        "are normalised, 0 for chance and 1 for solved; a number and a range are the median,\n"
        "lowest and highest over two seeds or more. Figure 3 and the question beside it take\n"
        "hours: `python benchmarks/figure3.py` goes on where it stopped. Figures of a run are\n"
        "drawn by `gradbench figures`; the sizes and optimizers of the paper are\n"
        "`--optimizer=paper --gb-preset=paper`. Costs are seconds on one core.\n\n" + table + "\n"
    )


def main(names: list[str]) -> int:
    """Measure the rows named, or what is missing, and write the page."""
    if unknown := sorted(set(names) - {row.id for row in ROWS}):
        print(f"no such row: {', '.join(unknown)}; choose from {', '.join(r.id for r in ROWS)}")
        return 4
    before = known()
    for row in ROWS:
        if row.id in names or row.id not in before or row.id in READ:
            begin = time.perf_counter()
            found = asdict(row.measure())
            same = all(before.get(row.id, {}).get(k) == v for k, v in found.items())
            if same and row.id not in names:
                continue
            found |= {
                "id": row.id,
                "seconds": round(time.perf_counter() - begin, 1),
                "date": datetime.now(UTC).date().isoformat(),
                "torch": torch.__version__,
            }
            with FILE.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            print(f"{row.id}: {found['verdict']}: {found['measured']}", flush=True)
    PAGE.write_text(page(known()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    with one_thread():
        sys.exit(main(sys.argv[1:]))
