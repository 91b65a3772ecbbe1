"""A history for the terminal and as a page: a row per run, and the cases that changed."""

from collections.abc import Sequence

from tabulate import tabulate

from gradbench.analysis.history import History, Step
from gradbench.analysis.moved import result
from gradbench.report.terminal import CASE, shorten

SHOWN = 5
"""Most runs shown side by side in the terminal's table of cases."""


def text(found: Sequence[History]) -> str:
    """Return the histories within about a hundred columns."""
    return "\n\n".join(map(_one, found))


def _one(history: History) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in history.settings.items())
    rows = [
        [
            number,
            step.started,
            step.commit,
            _solved(step),
            "-" if step.ratio is None else f"x{step.ratio:.3g}",
            "-" if step.p is None else f"{step.p:.2g}",
            step.verdict,
        ]
        for number, step in enumerate(history.steps, start=1)
    ]
    head = ("", "started", "commit", "solved", "evaluations", "p", "against the run before")
    parts = [
        f"{history.optimizer} ({settings})",
        tabulate(rows, head, tablefmt="plain", disable_numparse=True),
    ]
    changing = history.changing
    if changing:
        last = list(enumerate(history.steps, start=1))[-SHOWN:]
        cells = [
            [shorten(case, CASE), *(_cell(step, case) for _, step in last)] for case in changing
        ]
        names = ("case", *(f"run {number}" for number, _ in last))
        parts.append(tabulate(cells, names, tablefmt="plain", disable_numparse=True))
    count = len(history.cases) - len(changing)
    if count and any(step.held for step in history.steps):
        parts.append(f"never seen with other numbers: {count} case{'' if count == 1 else 's'}")
    return "\n\n".join(parts)


def _cell(step: Step, case: str) -> str:
    mark = " *" if case in step.changed else ""
    return result(step.records.get(case)) + mark


def _solved(step: Step) -> str:
    full = sum(record.solved for record in step.records.values())
    return f"{full}/{sum(record.seeds for record in step.records.values())}"


def page(found: Sequence[History]) -> str:
    """Return the histories as one HTML page without scripts; text from files is escaped."""
    from gradbench.report.html import environment, style

    return (
        environment()
        .get_template("history.html")
        .render(
            histories=[
                {
                    "optimizer": history.optimizer,
                    "settings": history.settings,
                    "steps": [(step, _solved(step)) for step in history.steps],
                    "cases": [
                        (case, [_shade(step, case) for step in history.steps])
                        for case in history.cases
                    ],
                }
                for history in found
            ],
            css=style(),
        )
    )


def _shade(step: Step, case: str) -> dict[str, object]:
    record = step.records.get(case)
    share = record.solved / record.seeds if record and record.seeds > 0 else None
    return {"text": result(record), "share": share, "changed": case in step.changed}
