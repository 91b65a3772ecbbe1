"""Runs as plain data for a page that draws them: what is embedded in report.html."""

from typing import Any

from gradbench.record import Expectation, Outcome, Record, Status
from gradbench.report.bands import band
from gradbench.report.rows import ran, remarks, shown, to_target, verdict
from gradbench.statistics import kaplan_meier, running_time, wilson

MIB = 2**20


def view(records: list[Record]) -> dict[str, Any]:
    """Return `optimizers`, `families` and per case what every optimizer did, as plain data."""
    specs = list(dict.fromkeys(r.optimizer for r in records if not is_learner(r)))
    by_case: dict[str, list[Record]] = {}
    for record in records:
        by_case.setdefault(record.case, []).append(record)
    families = list(dict.fromkeys(r.family for r in records))
    return {
        "optimizers": [{"spec": spec, "name": shown(spec)} for spec in specs],
        "families": [
            {"name": family, "arrivals": arrivals([r for r in records if r.family == family])}
            for family in families
        ],
        "cases": [_case(found) for found in by_case.values()],
    }


def is_learner(record: Record) -> bool:
    """Whether the record is of an approach that takes no optimizer."""
    return record.expectation == Expectation.LEARNER


def _case(found: list[Record]) -> dict[str, Any]:
    first = found[0]
    setting = [f"{name} = {value}" for name, value in first.setting.items()]
    return {
        "id": first.case,
        "family": first.family,
        "scenario": first.scenario.replace("_", " "),
        "approach": first.approach,
        "setting": ", ".join(setting),
        "section": first.section,
        "expectation": first.expectation,
        "budget": first.budget,
        "batch": first.batch,
        "target": first.target_score,
        "learner": is_learner(first),
        "results": {"" if is_learner(r) else r.optimizer: result(r) for r in found},
    }


def result(record: Record) -> dict[str, Any]:
    """Return what one optimizer did on one case."""
    statuses, count = record.statuses, ran(record)
    low, high = wilson(record.solved, record.seeds) if record.seeds else (0.0, 1.0)
    spent = [trial.get("gradient_evaluations") or 0 for trial in record.trials]
    arrived = [status == Status.SOLVED for status in statuses]
    time = running_time(spent, arrived) if count else None
    step = record.timing.get("seconds_per_step") or {}
    memory = record.timing.get("peak_memory_bytes")
    return {
        "solved": record.solved,
        "seeds": record.seeds,
        "ran": count,
        "interval": [round(low, 3), round(high, 3)],
        "bad": {
            kind.value: statuses.count(kind)
            for kind in (Status.DIVERGED, Status.CRASHED, Status.UNSUPPORTED)
            if kind in statuses
        },
        "news": record.outcome == Outcome.NEWS,
        "verdict": verdict(record),
        "median": to_target(record),
        "ert": time,
        "step": {name: step.get(name) for name in ("median", "q1", "q3")},
        "clock": record.timing.get("clock"),
        "memory": None if memory is None else round(memory / MIB, 1),
        "rate": record.hyperparameters.get("lr"),
        "remarks": remarks(record),
        "band": band(record.trials),
        "sweep": _sweep(record),
        "tracks": _tracks(record),
    }


def _sweep(record: Record) -> list[dict[str, Any]]:
    """Return the sweep's points by rate: final score, and whether the trial solved the case."""
    points = sorted(record.tuning, key=lambda point: (point["lr"], point["seed"]))
    return [{"lr": p["lr"], "score": p["score"], "status": p["status"]} for p in points]


def _tracks(record: Record) -> dict[str, list[dict[str, Any]]]:
    """Return each probe's readings by gradient evaluations."""
    tracks: dict[str, list[dict[str, Any]]] = {}
    for entry in record.informativeness:
        kept = {name: entry.get(name) for name in ("evaluations", "value", "resolved", "bound")}
        tracks.setdefault(entry["probe"], []).append(kept | {"interval": entry.get("interval")})
    return tracks


def arrivals(records: list[Record]) -> dict[str, Any]:
    """Return per optimizer the share of trials that have reached the target, in both units.

    Kaplan-Meier over all cases and seeds of the family; a trial that ended without the target is
    censored at what it spent, one that diverged or crashed never arrives.
    """
    found: dict[str, Any] = {}
    for spec in dict.fromkeys(r.optimizer for r in records if not is_learner(r)):
        own = [r for r in records if r.optimizer == spec and not is_learner(r)]
        trials = [(r, trial) for r in own for trial in r.trials if ran(r)]
        if not trials:
            continue
        found[spec] = {"n": len(trials), "cases": len({r.case for r, _ in trials})}
        for unit in ("evaluations", "seconds"):
            times, limits = [], []
            for record, trial in trials:
                time = trial.get(f"{unit}_to_target") if trial["status"] == Status.SOLVED else None
                times.append(time)
                limits.append(_limit(record, trial, unit))
            found[spec][unit] = [
                [float(f"{v:.4g}") for v in p] for p in kaplan_meier(times, limits)
            ]
    return found


def _limit(record: Record, trial: dict[str, Any], unit: str) -> float:
    """Return up to where a trial without the target is known not to have reached it."""
    if trial["status"] in {Status.DIVERGED, Status.CRASHED, Status.UNSUPPORTED}:
        return float("inf")
    spent = float(trial.get("gradient_evaluations") or 0)
    if unit == "evaluations":
        return spent
    return spent * ((record.timing.get("seconds_per_step") or {}).get("mean") or 0.0)
