"""report.md: a run as a page that reads well in a pull request."""

from typing import Any

from tabulate import tabulate

from gradbench.record import Record
from gradbench.report.rows import HEADERS, cells, clocks
from gradbench.report.terminal import news


def page(run: dict[str, Any], records: list[Record]) -> str:
    """Return the whole report of one run as Markdown."""
    device = run["device"]["name"] or run["cpu"]
    parts = [
        f"# gradbench: {', '.join(f'`{spec}`' for spec in run['optimizers'])}",
        (
            f"Preset {run['preset']}, {run['seeds']} seeds, sweep of {run['tuning']} rates, "
            f"{device}, torch {run['versions']['torch']}, "
            f"gradbench {run['versions']['gradbench']}, "
            f"commit {(run['commit'] or 'unknown')[:12]}{' (modified)' if run['dirty'] else ''}."
        ),
    ]
    found = news(records)
    if found:
        parts.append("## NEWS\n\n" + "\n".join(f"- {_escape(text)}" for text in found))
    rows = [[_escape(cell) for cell in cells(record)] for record in records]
    parts.append(
        "## Verdicts\n\n" + tabulate(rows, HEADERS, tablefmt="pipe", disable_numparse=True)
    )
    parts.append(
        "Solved counts evaluation seeds, with the Wilson 95 % interval in percent. Evaluations is "
        "the median number of gradient evaluations to the target score. ms/step is the median "
        f"training step by {clocks(records)}, evaluation excluded."
    )
    rates = [
        [record.case, f"`{_escape(record.optimizer)}`", _sweep(record), _chosen(record)]
        for record in records
        if record.tuning
    ]
    if rates:
        headers = ("case", "optimizer", "final score by learning rate (* solved)", "chosen")
        parts.append("## Learning rates\n\n" + tabulate(rates, headers, tablefmt="pipe"))
    remarks = [
        f"- {record.case}, `{_escape(record.optimizer)}`: {_escape(text)}"
        for record in records
        for text in [*record.notes, *([record.reason] if record.reason else [])]
    ]
    if remarks:
        parts.append("## Notes\n\n" + "\n".join(remarks))
    return "\n\n".join(parts) + "\n"


def _sweep(record: Record) -> str:
    points = sorted(record.tuning, key=lambda point: (point["lr"], point["seed"]))
    return ", ".join(
        f"{p['lr']:g}: {p['status'] if p['score'] is None else format(p['score'], '.2f')}"
        f"{'*' if p['status'] == 'solved' else ''}"
        for p in points
    )


def _chosen(record: Record) -> str:
    rate = record.hyperparameters.get("lr")
    return "-" if rate is None else f"{rate:g}"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
