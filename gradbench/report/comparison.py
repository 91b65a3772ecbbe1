"""A comparison as a table for the terminal, or for a pull request."""

import math
import textwrap

from tabulate import tabulate

from gradbench.analysis.comparison import LEVEL, Comparison
from gradbench.report.terminal import CASE, shorten, width

HEADERS = ("case", "A", "B", "win-tie-loss", "ratio", "p", "Holm", "step")
LONG = 10_000  # nothing is cut or wrapped in Markdown

LEGEND = """\
A, B: seeds solved; ratio: A's evaluations to target over B's where both solve, below 1 where A
is faster; p: sign-flip test over paired seeds; step: A's step time over B's"""

ALIGN = ("left", *["right"] * 7)


def text(found: Comparison) -> str:
    """Return the comparison within a hundred columns."""
    return _page(found, "plain", CASE, width() - 1)


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
    others = {"only in A": found.only_a, "only in B": found.only_b}
    for what, names in (others | {"no seed in common": found.apart}).items():
        if names:
            parts.append(f"{what}: {', '.join(names)}")
    return "\n\n".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def conclusions(found: Comparison) -> list[str]:
    """Return the conclusions on single cases and on all cases, a sentence each."""
    said = []
    if None not in found.tuned and found.tuned[0] != found.tuned[1]:
        tuned, given = (found.a, found.b) if found.tuned[0] else (found.b, found.a)
        said.append(f"{tuned} had its rate tuned and {given} ran as given: not a like comparison")
    few, many = (limit(row.seeds for row in found.cases) for limit in (min, max))
    least = 2.0 ** (1 - many)
    sure = [row for row in found.cases if row.holm <= LEVEL]
    if sure:
        names = ", ".join(
            f"{row.case} ({found.a if row.mean_log < 0 else found.b})" for row in sure
        )
        said.append(f"single cases that differ, after Holm over {len(found.cases)}: {names}")
    elif least * len(found.cases) > LEVEL:
        need = math.ceil(1 + math.log2(len(found.cases) / LEVEL))
        said.append(
            f"no single case can be told apart with {_seeds(few, many)}: the smallest possible p "
            f"is {least:.2g}, for each of {_count(len(found.cases), 'case')}; {need} seeds could"
        )
    else:
        said.append("no single case differs, after Holm")
    if found.p <= LEVEL:
        wins, losses = sum(r.wins for r in found.cases), sum(r.losses for r in found.cases)
        said.append(
            f"over all cases they differ (p = {found.p:.2g}; {found.a} is first on {wins} seeds, "
            f"{found.b} on {losses}): {found.a if found.mean_log < 0 else found.b} needs fewer "
            "evaluations, unsolved counted at the budget"
        )
    else:
        said.append(f"over all cases no difference is shown (p = {found.p:.2g})")
    return [*said, _ratio(found)]


def _seeds(few: int, many: int) -> str:
    return _count(many, "seed") if few == many else f"{few} to {many} seeds"


def _ratio(found: Comparison) -> str:
    """Return the sentence on the ratio of evaluations."""
    low, high = found.interval
    count = len(found.families)
    said = (
        f"evaluations of {found.a} over {found.b}: {found.ratio:.2g} in the geometric mean over "
        f"{'1 family' if count == 1 else f'{count} families'}"
    )
    if count > 1:
        said += f" (95 %: {low:.2g} to {high:.2g}, {count - 1} degrees of freedom)"
    return said + _cut(found)


def _cut(found: Comparison) -> str:
    """Return what the cut of unsolved trials at the budget means for the ratio; empty for none."""
    cut_a = any(row.solved_a < row.seeds for row in found.cases)
    cut_b = any(row.solved_b < row.seeds for row in found.cases)
    if not (cut_a or cut_b):
        return ""
    if (found.ratio > 1 and not cut_b) or (found.ratio < 1 and not cut_a):
        return "; a lower bound of the difference, since unsolved trials are cut at the budget"
    return "; unsolved trials are cut at the budget, so that it may be higher or lower"
