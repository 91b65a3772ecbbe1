"""The lines of a run and the table at its end, within 100 columns."""

import textwrap

from tabulate import tabulate

from gradbench.report.rows import (
    FAILS_BY,
    HEADERS,
    cells,
    legend,
    milliseconds,
    remarks,
    shown,
    solved,
    to_target,
    verdict,
)
from gradbench.results.record import Expectation, Record
from gradbench.text import printable

WIDTH = 100
CASE, OPTIMIZER = 31, 13
GAP = 2  # between two columns
NAMED = 12
"""Most items named after one remark; report.md lists the remarks of each record."""


def shorten(text: str, width: int) -> str:
    """Return the text cut in its middle to a width."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def item(record: Record) -> str:
    """Return the item's name: a learner's has no optimizer in brackets."""
    learner = record.expectation == Expectation.LEARNER
    return record.case if learner else f"{record.case}[{shown(record.optimizer)}]"


def line(record: Record) -> str:
    """Return one finished item in one line."""
    name = shorten(item(record), 44)
    numbers = f"{to_target(record):>7} ev  {milliseconds(record):>6} ms"
    text = f"{name:<44}  {solved(record):>3}  {numbers}  {verdict(record)}"
    return shorten(text, WIDTH - 2)


def table(records: list[Record]) -> str:
    """Return the final table: a row per record, then the legend of its columns and the remarks."""
    rows = [list(HEADERS), *([printable(cell) for cell in cells(record)] for record in records)]
    for row in rows:
        row[0] = shorten(row[0], CASE)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = max(OPTIMIZER, WIDTH - sum(widths) + widths[1] - GAP * (len(widths) - 1))
    for row in rows:
        row[1] = shorten(row[1], room)
    # Headers as a row: tabulate pads its own by two columns that there is no room for.
    rows.insert(1, ["-" * max(map(len, column)) for column in zip(*rows, strict=True)])
    align = ("left", "left", *["right"] * 4, "left")
    text = tabulate(rows, tablefmt="plain", colalign=align, disable_numparse=True)
    lines = "\n".join([text, legend(records), *_said(records)]).split("\n")
    return "\n".join(map(printable, lines))


def _said(records: list[Record]) -> list[str]:
    """Return the lines of all remarks, each remark once, with the items that have it."""
    about: dict[str, list[str]] = {}
    for record in records:
        for remark in remarks(record):
            about.setdefault(remark, []).append(item(record))
    return [line for remark, names in about.items() for line in _named(remark, names)]


def _named(remark: str, names: list[str]) -> list[str]:
    """Return the lines of a remark and of the items that have it, `NAMED` of them at most."""
    if len(names) == 1 and not remark.startswith(FAILS_BY):
        return [shorten(f"{names[0]}: {remark}", WIDTH)]
    more = len(names) - NAMED
    listed = ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
    text = f"{remark}: {listed}"
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
