"""What `gradbench conform` runs and prints."""

from collections.abc import Sequence
from dataclasses import replace

from gradbench.checks.conform import text
from gradbench.checks.conform.comparison import Conformance, conform
from gradbench.checks.conform.forms import FORMS, NotHereError, against
from gradbench.results.record import to_json


def run(
    a: str, b: str | None, forms: Sequence[str], steps: int, tolerance: float
) -> list[Conformance]:
    """Compare A with B, or with itself in each form; forms that are not here are noted.

    Raises ValueError, in one line, for unknown forms, and where nothing could be compared.
    """
    if b is not None:
        return [conform(a, b, steps=steps, tolerance=tolerance)]
    for form in forms:
        if form not in FORMS:
            raise ValueError(f"--against={form}: choose from {', '.join(FORMS)}")
    found: list[Conformance] = []
    missing = []
    for form in forms:
        try:
            found.append(against(a, form, steps=steps))
        except NotHereError as error:
            missing.append(f"{form}: not compared: {error}")
    if not found:
        raise ValueError("; ".join(missing))
    return [replace(found[0], notes=[*found[0].notes, *missing]), *found[1:]]


def shown(found: Sequence[Conformance], style: str) -> str:
    """Return the comparisons as text, Markdown or JSON."""
    if style == "json":
        return to_json([text.plain(each) for each in found], indent=2)
    each_way = text.markdown if style == "markdown" else text.text
    return "\n\n".join(map(each_way, found))
