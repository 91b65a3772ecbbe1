"""The lines of a run and the table at its end, as wide as the terminal: 80 to 200 columns."""

import shutil
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

NARROW, WIDTH, WIDE = 80, 100, 200
"""Columns: the fewest, those where there is no terminal, and the most."""

CASE, OPTIMIZER = 31, 13
NAME, NUMBERS = 44, 56
"""Columns of an item's name, and of what stands behind it, in a terminal of `WIDTH`."""

GAP = 2  # between two columns
NAMED = 12
"""Most items named after one remark; report.md lists the remarks of each record."""


def width() -> int:
    """Return the terminal's columns, within bounds; `WIDTH` where there is none."""
    return min(max(shutil.get_terminal_size((WIDTH, 24)).columns, NARROW), WIDE)


def shorten(text: str, columns: int) -> str:
    """Return the text cut in its middle to a number of columns."""
    if len(text) <= columns:
        return text
    head = (columns - 1) // 2
    return f"{text[:head]}…{text[len(text) - (columns - 1 - head) :]}"


def item(record: Record) -> str:
    """Return the item's name: a learner's has no optimizer in brackets."""
    learner = record.expectation == Expectation.LEARNER
    return record.case if learner else f"{record.case}[{shown(record.optimizer)}]"


def line(record: Record) -> str:
    """Return one finished item in one line."""
    room = max(NAME, width() - NUMBERS) if width() >= WIDTH else width() - NUMBERS + 5
    name = shorten(item(record), room)
    numbers = f"{to_target(record):>7} ev  {milliseconds(record):>6} ms"
    text = f"{name:<{min(room, 2 * NAME)}}  {solved(record):>3}  {numbers}  {verdict(record)}"
    return shorten(text, width() - 2)


def table(records: list[Record], *, brief: bool = False) -> str:
    """Return the final table: a row per record, then the legend of its columns and the remarks.

    A terminal of less than `WIDTH` columns gets no intervals and no signal; `brief` leaves out the
    legend.
    """
    rows = [list(HEADERS), *([printable(cell) for cell in cells(record)] for record in records)]
    if width() < WIDTH:
        rows = [[*row[:2], row[2].split(" ")[0], *row[3:5], row[6]] for row in rows]
    longest = max(len(row[-1]) for row in rows)
    room = CASE - max(0, longest - len("unsupported (may)")) if width() <= WIDTH else width() // 3
    for row in rows:
        row[0] = shorten(row[0], room)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = max(OPTIMIZER, width() - sum(widths) + widths[1] - GAP * (len(widths) - 1))
    for row in rows:
        row[1] = shorten(row[1], room)
    # Headers as a row: tabulate pads its own by two columns that there is no room for.
    rows.insert(1, ["-" * max(map(len, column)) for column in zip(*rows, strict=True)])
    align = ("left", "left", *["right"] * (len(rows[0]) - 3), "left")
    text = tabulate(rows, tablefmt="plain", colalign=align, disable_numparse=True)
    explained = [] if brief else legend(records).split("\n")
    lines = [part for each in explained for part in textwrap.wrap(each, width())]
    below = [] if brief else [*lines, *_said(records)]
    return "\n".join(map(printable, "\n".join([text, *below]).split("\n")))


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
        return [shorten(f"{names[0]}: {remark}", width())]
    more = len(names) - NAMED
    listed = ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
    text = f"{remark}: {listed}"
    return textwrap.wrap(text, width(), subsequent_indent="  ", break_on_hyphens=False)
