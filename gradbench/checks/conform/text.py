"""Conformance as text, Markdown and JSON."""

from typing import Any

from tabulate import tabulate

from gradbench.checks.conform.comparison import Conformance
from gradbench.checks.conform.sides import Compared


def verdict(found: Conformance) -> list[str]:
    """Return the lines of the result: same or different, where first, and why."""
    if found.same:
        count = sum(not each.trouble for each in found.compared)
        size = f"{count} comparisons of {found.steps} steps, within {found.tolerance:g}"
        return [f"same: {found.a} and {found.b}, {size}"]
    first = found.first
    assert first is not None  # noqa: S101  # something differs
    lines = [f"different: {found.a} (A) and {found.b} (B)"]
    lines.append(f"first: {first.problem}{_options(first)}: {first.said()}")
    if found.diagnosis:
        left = "" if found.left is None else f" (explains all but {found.left:.0e})"
        lines.append(f"because: {found.diagnosis}{left}")
    else:
        lines.append("because: no known mistake explains it")
    return lines


def _options(each: Compared) -> str:
    return "".join(f", {name}={value}" for name, value in each.options.items())


def text(found: Conformance) -> str:
    """Return the verdict, the notes and a table of all comparisons."""
    rows = [[f"{each.problem}{_options(each)}", each.said()] for each in found.compared]
    table = tabulate(rows, tablefmt="plain", disable_numparse=True)
    return "\n".join([*verdict(found), *[f"note: {note}" for note in found.notes], table])


def markdown(found: Conformance) -> str:
    """Return the same as Markdown."""
    rows = [[each.problem, _options(each)[2:], each.said()] for each in found.compared]
    table = tabulate(rows, ("problem", "options", "result"), tablefmt="github")
    notes = [f"- {note}" for note in found.notes]
    return "\n\n".join(["\n".join(f"- {line}" for line in verdict(found)), *notes, table])


def plain(found: Conformance) -> dict[str, Any]:
    """Return the same as plain data."""
    return {
        "a": found.a,
        "b": found.b,
        "same": found.same,
        "steps": found.steps,
        "tolerance": found.tolerance,
        "diagnosis": found.diagnosis or None,
        "left": found.left,
        "notes": list(found.notes),
        "compared": [_plain(each) for each in found.compared],
    }


def _plain(each: Compared) -> dict[str, Any]:
    first = each.first
    return {
        "problem": each.problem,
        "options": dict(each.options),
        "differs": each.differs,
        "trouble": each.trouble or None,
        "first": first
        and {"step": first.step, "parameter": first.parameter, "relative": first.relative},
    }
