"""docs/paper.md: every claim, figure, theorem and lemma of the paper, and what reproduces.

    python benchmarks/paper             # measures what is missing, then writes the page
    python benchmarks/paper figure-4    # measures these rows again, then writes the page

Measurements stand in benchmarks/paper.jsonl, a line per row, of which the latest counts. A verdict
is computed from the numbers, never written down. Figures stand in docs/paper/ and need the extra
`figures`.
"""

import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import section2
import section3
import section4
import section5
import torch
from common import HERE, NO, OURS, PART, UNTESTED, YES, Row
from drawing import draw
from tabulate import tabulate

from gradbench.torch_state import one_thread

FILE, PAGE = HERE / "paper.jsonl", HERE.parent / "docs" / "paper.md"
FIGURES = PAGE.with_suffix("")
ROWS = (*section2.ROWS, *section3.ROWS, *section4.ROWS, *section5.ROWS)
READ = {"figure-3", "escape"}
"""Rows that are read from another file each time."""


def known() -> dict[str, dict[str, Any]]:
    """Return the latest measurement of each row."""
    lines = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else []
    return {found["id"]: found for found in map(json.loads, lines)}


def escaped(text: str) -> str:
    """Return text in which Markdown sees no table, emphasis or tag."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def page(found: dict[str, dict[str, Any]]) -> str:
    """Return the page as Markdown."""
    counts = [found[row.id]["verdict"] for row in ROWS]
    verdicts = (v for v in (YES, PART, NO, UNTESTED, OURS) if v in counts)
    tally = ", ".join(f"{counts.count(v)} {v}" for v in verdicts)
    rows = [
        [
            row.section,
            escaped(row.says),
            f"**{found[row.id]['verdict']}**",
            f"[{row.id}](#{row.id})",
        ]
        for row in ROWS
    ]
    headers = ("section", "the paper says", "verdict", "row")
    return (
        "# What of the paper reproduces\n\n"
        "Shalev-Shwartz, Shamir, Shammah, *Failures of Gradient-Based Deep Learning*, ICML 2017,\n"
        "[arXiv:1703.07950](https://arxiv.org/abs/1703.07950), in its own order; sections are\n"
        f"that version's. {tally}.\n\n"
        "`python benchmarks/paper ROW` measures a row again and writes this page, with the\n"
        "verdict that follows from its numbers; without a row it measures what is missing. Scores\n"
        "are normalised, 0 for chance and 1 for solved; a number and a range are the median,\n"
        "lowest and highest over two seeds or more; costs are seconds on one core. The sizes and\n"
        "optimizers of the paper as cases: `--optimizer=paper --gb-preset=paper`.\n\n"
        + tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
        + "\n\n"
        + "\n".join(section(row, found[row.id]) for row in ROWS)
    )


def section(row: Row, one: dict[str, Any]) -> str:
    """Return a row's own part of the page."""
    reason = f"\n\nWhy: {escaped(one['reason'])}." if one["reason"] else ""
    drawn = f"\n\n![{row.id}](paper/{row.id}.svg)" if one.get("figure") else ""
    command = "figure3.py" if row.id in READ else f"paper {row.id}"
    return (
        f"## {row.id}\n\n"
        f"Section {row.section}: {escaped(row.says)}. **{one['verdict']}**\n\n"
        f"Measured: {escaped(one['measured'])}.{reason}\n\n"
        f"`python benchmarks/{command}`, {one['seconds']:.0f} s, {one['date']}, torch "
        f"{one['torch']}{drawn}\n"
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
            found = json.loads(json.dumps(asdict(row.measure())))
            same = all(before.get(row.id, {}).get(k) == v for k, v in found.items())
            if same and row.id not in names:
                continue
            if found["seconds"] is None:
                found["seconds"] = round(time.perf_counter() - begin, 1)
            found |= {
                "id": row.id,
                "date": datetime.now(UTC).date().isoformat(),
                "torch": torch.__version__,
            }
            with FILE.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            print(f"{row.id}: {found['verdict']}: {found['measured']}", flush=True)
            if found["figure"]:
                draw(found["figure"], FIGURES / f"{row.id}.svg")
    PAGE.write_text(page(known()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    with one_thread():
        sys.exit(main(sys.argv[1:]))
