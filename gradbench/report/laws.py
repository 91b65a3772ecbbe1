"""What theory predicts of a run's cases beside what was measured, for the report."""

import math
from collections.abc import Iterable
from typing import Any

from gradbench.analysis.exponents import Exponent, exponent
from gradbench.report.rows import shown, to_target
from gradbench.results.record import Record

HEADERS = ("law", "predicted", "measured", "exponent")
SAID = (
    "Medians of evaluations to the target, and by how large a power of the axis they grow: of the "
    "law, and fitted over the rungs that an optimizer solves, with 95 % over seeds."
)


def laws(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return each law of the records, as plain data: its rungs, predictions and measurements.

    `rungs` has for each case its place `at` on the axis (None without one) and the number that is
    `predicted`; `measured` and `fitted` are by optimizer, `measured` in the order of the rungs.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record.law:
            name = (record.scenario, record.approach, *_rest(record))
            groups.setdefault(name, []).append(record)
    return [_law(name, group) for name, group in groups.items()]


def _rest(record: Record) -> list[str]:
    """Return the settings beside the axis that differ from case to case."""
    axis = record.law["axis"]
    return [f"{name}={v}" for name, v in record.setting.items() if axis and name != axis]


def _law(name: tuple[str, ...], group: list[Record]) -> dict[str, Any]:
    first = group[0].law
    axis = first["axis"]
    cases = {record.case: record for record in group}
    rungs = sorted(cases.values(), key=lambda r: (r.setting.get(axis) or 0, r.case))
    by_optimizer: dict[str, dict[str, Record]] = {}
    for record in group:
        by_optimizer.setdefault(record.optimizer, {})[record.case] = record
    return {
        "name": " ".join(name[:2]).replace("_", " ").strip(),
        "quantity": first["quantity"],
        "source": first["source"],
        "axis": axis,
        "exponent": first["exponent"],
        "in_evaluations": first["in_evaluations"],
        "rungs": [
            {"case": r.case, "at": r.setting.get(axis), "predicted": r.law["predicted"]}
            for r in rungs
        ],
        "measured": {
            spec: [to_target(found[r.case]) if r.case in found else None for r in rungs]
            for spec, found in by_optimizer.items()
        }
        if first["in_evaluations"]
        else {},
        "fitted": {
            spec: fit
            for spec, found in by_optimizer.items()
            if first["exponent"] is not None and (fit := _fitted(found.values(), axis))
        },
    }


def _fitted(records: Iterable[Record], axis: str) -> Exponent | None:
    times = {
        float(r.setting[axis]): [t["evaluations_to_target"] for t in r.trials] for r in records
    }
    return exponent(times)


def rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row of text per law: what, predicted, measured, and exponents."""
    return [
        [
            f"{law['name']}: {law['quantity']} ({law['source']})",
            _joined(f"{_place(law, r)}{_number(r['predicted'])}" for r in law["rungs"]),
            _joined(
                f"{shown(spec)} {' / '.join(_number(m) for m in values)}"
                for spec, values in law["measured"].items()
            ),
            _joined(_exponents(law)),
        ]
        for law in found
    ]


def _exponents(law: dict[str, Any]) -> list[str]:
    said = [] if law["exponent"] is None else [f"law {law['exponent']:.2f}"]
    return said + [
        f"{shown(spec)} {fit.value:z.2f} ({_interval(fit)})" for spec, fit in law["fitted"].items()
    ]


def _interval(fit: Exponent) -> str:
    if math.isinf(fit.low) and math.isinf(fit.high):
        return "no interval"
    return f"{fit.low:z.2f} to {fit.high:z.2f}"


def _place(law: dict[str, Any], rung: dict[str, Any]) -> str:
    return f"{law['axis']} = {rung['at']:g}: " if law["axis"] else f"{rung['case']}: "


def _number(value: Any) -> str:  # noqa: ANN401
    return f"{value:.4g}" if isinstance(value, int | float) else str(value or "-")


def _joined(parts: Iterable[str]) -> str:
    return "; ".join(parts) or "-"
