"""report.md: one or several runs as a Markdown page, suited to a pull request."""

from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from gradbench.analysis.alike import unlike
from gradbench.report import laws, tally
from gradbench.report.rows import HEADERS, cells, claims, legend, news, reading, remarks, shown
from gradbench.results.record import Record, Status, or_zero
from gradbench.results.summaries import LARGE
from gradbench.text import printable


def _tuning(records: Sequence[Record]) -> list[str]:
    """Return the section on the sweeps; empty where there were none."""
    rates = [_sweep(record) for record in records if record.tuning]
    if not rates:
        return []
    scores = "final score by learning rate (* solved)"
    columns = ("case", "optimizer", scores, "chosen", "cost", "best of k: evaluations")
    legend = "Cost in gradient evaluations, forward ones besides; best of k: the expected least "
    legend += "evaluations to the target, over random orders of the points that were tried."
    return ["## Tuning", _table(rates, columns), legend]


def page(
    runs: Sequence[dict[str, Any]], records: list[Record], baseline: Sequence[str] = ()
) -> str:
    """Return the whole report as Markdown: of one run, or of several as one.

    `baseline` holds the results of comparisons with a baseline or an older version, a line each.
    """
    specs = dict.fromkeys(spec for run in runs for spec in _specs(run))
    title = f"# gradbench: {', '.join(_code(spec) for spec in specs)}"
    parts = [title, *(_escape(line) for line in [*map(ran_on, runs), *unlike(runs)])]
    if found := news(records):
        parts += ["## NEWS", _list(found)]
    if found := claims(records):
        parts += ["## Solved, not verified", _list(found)]
    if baseline:
        parts += ["## Against what was before", _list(list(baseline))]
    if len(records) > LARGE:
        parts += ["## Verdicts", _table(_escaped(tally.rows(records)), tally.HEADERS), tally.SAID]
        return "\n\n".join(parts) + "\n"
    if records:
        rows = _escaped([cells(record) for record in records])
        parts += [
            "## Verdicts",
            _table(rows, HEADERS),
            _escape(legend(records).replace("\nsignal", "; signal")) + ".",
        ]
    if found_laws := laws.laws(records):
        parts += ["## Laws", _table(_escaped(laws.rows(found_laws)), laws.HEADERS), laws.SAID]
    parts += _tuning(records)
    if tracks := [row for record in records for row in _tracks(record)]:
        headers = ("case", "optimizer", "probe", "value (standard error) by gradient evaluations")
        parts += ["## How informative the gradients were (seed 0)", _table(tracks, headers)]
    notes = [f"{r.case}, {shown(r.optimizer)}: {remark}" for r in records for remark in remarks(r)]
    if notes:
        parts += ["## Notes", _list(notes)]
    return "\n\n".join(parts) + "\n"


def _specs(run: dict[str, Any]) -> list[str]:
    found = run.get("optimizers")
    return list(map(str, found)) if isinstance(found, list) else []


def ran_on(run: dict[str, Any]) -> str:
    """Return a paragraph on a run's settings, device and versions; `?` for unknown values."""

    def known(*path: str) -> str:
        found: Any = run
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return "?" if found is None else str(found)

    tuning = run.get("tuning")
    sweep = f"sweep of {tuning} rates" if tuning else "no sweep"
    networks = run.get("architectures")
    own = not isinstance(networks, list) or networks in ([], ["paper"])
    on = "" if own else f" on {', '.join(map(str, networks or []))}"
    commit = known("commit")[:12] + (" (modified)" if run.get("dirty") else "")
    name = known("device", "name")
    return (
        f"{known('preset').capitalize()} preset, {known('seeds')} seeds, {sweep}{on}; "
        f"{known('device', 'type')} ({known('cpu') if name == '?' else name}), {known('dtype')}; "
        f"torch {known('versions', 'torch')}, gradbench {known('versions', 'gradbench')}; "
        f"commit {commit}; started {known('started')}."
    )


def _sweep(record: Record) -> list[str]:
    points = sorted(record.tuning, key=lambda point: (point["lr"], point["seed"]))
    text = ", ".join(
        f"{p['lr']:g}: {p['status'] if p['score'] is None else format(p['score'], '.2f')}"
        f"{'*' if p['status'] == Status.SOLVED else ''}"
        for p in points
    )
    tried = {name for p in record.tuning for name in p.get("hyperparameters") or {}}
    given = {name: record.hyperparameters.get(name) for name in sorted(tried)}
    values = {name: value for name, value in given.items() if isinstance(value, int | float)}
    cost, best_of = record.tuning_cost, record.tuning_cost.get("best_of") or []
    forward = cost.get("forward_evaluations")
    spent = f"{cost.get('gradient_evaluations', '-')}"
    spent += f" + {forward}" if or_zero(forward) > 0 else ""
    return [
        _escape(record.case),
        _escape(shown(record.optimizer)),
        _escape(text),
        _escape(", ".join(f"{name} {value:g}" for name, value in values.items())) or "-",
        spent,
        ", ".join(f"{entry['evaluations']:.0f}" for entry in best_of) or "-",
    ]


def _tracks(record: Record) -> list[list[str]]:
    """Return a row per probe that has at least one value."""
    by_probe: dict[str, list[dict[str, Any]]] = {}
    for entry in record.informativeness:
        if entry["value"] is not None:
            by_probe.setdefault(entry["probe"], []).append(entry)
    rows = []
    for probe, entries in by_probe.items():
        track = ", ".join(
            f"{e['evaluations']}: {reading(e)}"
            + (f" ({e['error']:.1g})" if e.get("resolved") and e.get("error") is not None else "")
            for e in entries
        )
        rows.append(list(map(_escape, (record.case, shown(record.optimizer), probe, track))))
    return rows


def _table(rows: list[list[str]], headers: tuple[str, ...]) -> str:
    return str(tabulate(rows, headers, tablefmt="pipe", disable_numparse=True))


def _escaped(rows: list[list[str]]) -> list[list[str]]:
    return [[_escape(cell) for cell in row] for row in rows]


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {_escape(text)}" for text in lines)


def _code(text: str) -> str:
    plain = printable(text).replace("`", "'")
    return f"`{plain}`"


def _escape(text: str) -> str:
    plain = printable(text.replace("\n", " "))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
