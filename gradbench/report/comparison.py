"""A comparison as a table for the terminal, or for a pull request."""

import textwrap

from tabulate import tabulate

from gradbench.compare import Comparison, conclusions
from gradbench.report.terminal import CASE, WIDTH, shorten

HEADERS = ("case", "A", "B", "win-tie-loss", "ratio", "p", "Holm", "step")
LONG = 10_000  # nothing is cut or wrapped in Markdown

LEGEND = """\
A, B: seeds solved; ratio: A's evaluations to target over B's where both solve, below 1 where A
is faster; p: sign-flip test over paired seeds; step: A's step time over B's"""

ALIGN = ("left", *["right"] * 7)


def text(found: Comparison) -> str:
    """Return the comparison within a hundred columns."""
    return _page(found, "plain", CASE, WIDTH - 1)


def markdown(found: Comparison) -> str:
    """Return the comparison as Markdown."""
    return _page(found, "pipe", LONG, LONG)


def _page(found: Comparison, style: str, width: int, wide: int) -> str:
    rows = [
        [
            shorten(row.case, width),
            f"{row.solved_a}/{row.seeds}",
            f"{row.solved_b}/{row.seeds}",
            f"{row.wins}-{row.ties}-{row.losses}",
            _number(row.ratio),
            _number(row.p),
            _number(row.holm),
            _number(row.step_time),
        ]
        for row in found.cases
    ]
    pooled = [
        [f.family, f.cases, f"{f.wins}-{f.ties}-{f.losses}", _number(f.ratio), _number(f.p)]
        for f in found.families
    ]
    options = {"tablefmt": style, "disable_numparse": True}
    parts = [
        f"A: {found.a}\nB: {found.b}",
        tabulate(rows, HEADERS, colalign=ALIGN, **options),
        LEGEND,
        tabulate(
            pooled,
            ("family", "cases", "win-tie-loss", "ratio", "p"),
            colalign=("left", *["right"] * 4),
            **options,
        ),
        "\n".join(
            textwrap.fill(f"- {s}", wide, subsequent_indent="  ") for s in conclusions(found)
        ),
    ]
    for side, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            parts.append(f"only in {side}: {', '.join(names)}")
    return "\n\n".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
