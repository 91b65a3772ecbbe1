"""report.md: a run as a page that reads well in a pull request."""

from typing import Any

from tabulate import tabulate

from gradbench.record import Record, Status
from gradbench.report.rows import HEADERS, cells, legend, news, reading, remarks, shown


def page(run: dict[str, Any], records: list[Record]) -> str:
    """Return the whole report of one run as Markdown."""
    parts = [f"# gradbench: {', '.join(_code(spec) for spec in run['optimizers'])}", _ran(run)]
    if found := news(records):
        parts += ["## NEWS", _list(found)]
    if records:
        rows = [[_escape(cell) for cell in cells(record)] for record in records]
        parts += ["## Verdicts", _table(rows, HEADERS), legend(records).replace("\n", " ") + "."]
    if rates := [_sweep(record) for record in records if record.tuning]:
        headers = ("case", "optimizer", "final score by learning rate (* solved)", "chosen")
        parts += ["## Learning rates", _table(rates, headers)]
    if tracks := [row for record in records for row in _tracks(record)]:
        headers = ("case", "optimizer", "probe", "value (standard error) by gradient evaluations")
        parts += ["## How informative the gradients were (seed 0)", _table(tracks, headers)]
    said = [f"{r.case}, {shown(r.optimizer)}: {remark}" for r in records for remark in remarks(r)]
    if said:
        parts += ["## Notes", _list(said)]
    return "\n\n".join(parts) + "\n"


def _ran(run: dict[str, Any]) -> str:
    commit = (run["commit"] or "unknown")[:12] + (" (modified)" if run["dirty"] else "")
    sweep = f"sweep of {run['tuning']} rates" if run["tuning"] else "no sweep"
    return (
        f"{run['preset'].capitalize()} preset, {run['seeds']} seeds, {sweep}; "
        f"{run['device']['type']} ({run['device']['name'] or run['cpu']}), {run['dtype']}; "
        f"torch {run['versions']['torch']}, gradbench {run['versions']['gradbench']}; "
        f"commit {commit}; started {run['started']}."
    )


def _sweep(record: Record) -> list[str]:
    points = sorted(record.tuning, key=lambda point: (point["lr"], point["seed"]))
    text = ", ".join(
        f"{p['lr']:g}: {p['status'] if p['score'] is None else format(p['score'], '.2f')}"
        f"{'*' if p['status'] == Status.SOLVED else ''}"
        for p in points
    )
    rate = record.hyperparameters.get("lr")
    return [
        record.case,
        _escape(shown(record.optimizer)),
        text,
        "-" if rate is None else f"{rate:g}",
    ]


def _tracks(record: Record) -> list[list[str]]:
    """Return a row per probe that had anything to say."""
    by_probe: dict[str, list[dict[str, Any]]] = {}
    for entry in record.informativeness:
        if entry["value"] is not None:
            by_probe.setdefault(entry["probe"], []).append(entry)
    rows = []
    for probe, entries in by_probe.items():
        track = ", ".join(
            f"{e['evaluations']}: {reading(e)}"
            + (f" ({e['error']:.1g})" if e["resolved"] and e["error"] else "")
            for e in entries
        )
        rows.append([record.case, _escape(shown(record.optimizer)), probe, _escape(track)])
    return rows


def _table(rows: list[list[str]], headers: tuple[str, ...]) -> str:
    return str(tabulate(rows, headers, tablefmt="pipe", disable_numparse=True))


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {_escape(text)}" for text in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
