"""The data embedded in report.html, from which the page draws its plots."""

from collections.abc import Callable
from statistics import median
from typing import Any

from gradbench.analysis.statistics import running_time, share_interval, wilson
from gradbench.report.bands import band, spent
from gradbench.report.explained import link, meaning, task
from gradbench.report.laws import laws
from gradbench.report.profile import profile
from gradbench.report.rows import distinct, is_verified, ran, remarks, to_target, verdict
from gradbench.results.record import Expectation, Outcome, Record, Status, or_zero
from gradbench.results.summaries import LARGE

MIB = 2**20


def view(records: list[Record]) -> dict[str, Any]:
    """Return `optimizers`, `families` and `cases` with every optimizer's results, as plain data.

    `probes` has what each probe's reading means, `profile` what each optimizer solves of each
    mechanism, `laws` what theory predicts.
    """
    specs = list(dict.fromkeys(r.optimizer for r in records if not is_learner(r)))
    by_case: dict[str, list[Record]] = {}
    for record in records:
        by_case.setdefault(record.case, []).append(record)
    families = list(dict.fromkeys(r.family for r in records))
    brief = len(records) > LARGE
    probes = dict.fromkeys(entry["probe"] for r in records for entry in r.informativeness)
    return {
        "brief": brief,
        "probes": {name: meaning(name) for name in probes},
        "optimizers": [{"spec": spec, "name": name} for spec, name in distinct(specs).items()],
        "families": [
            {"name": family, "arrivals": arrivals([r for r in records if r.family == family])}
            for family in ([] if brief else families)
        ],
        "profile": profile([] if brief else records),
        "laws": [] if brief else laws(records),
        "cases": [_case(found, cell if brief else result) for found in by_case.values()],
    }


def is_learner(record: Record) -> bool:
    """Return whether the record is of an approach that takes no optimizer."""
    return record.expectation == Expectation.LEARNER


def _case(found: list[Record], shown: Callable[[Record], dict[str, Any]]) -> dict[str, Any]:
    first = found[0]
    setting = [f"{name} = {value}" for name, value in first.setting.items()]
    return {
        "id": first.case,
        "family": first.family,
        "scenario": first.scenario.replace("_", " "),
        "approach": first.approach,
        "setting": ", ".join(setting),
        "section": first.section,
        "task": task(first.scenario),
        "paper": link(first.section),
        "expectation": first.expectation,
        "why": first.why,
        "budget": first.budget,
        "batch": first.batch,
        "target": first.target_score,
        "learner": is_learner(first),
        "results": {"" if is_learner(r) else r.optimizer: shown(r) for r in found},
    }


def cell(record: Record) -> dict[str, Any]:
    """Return a record's cell in the table of verdicts, as plain data."""
    statuses = record.statuses
    low, high = wilson(record.solved, record.seeds) if record.seeds > 0 else (0.0, 1.0)
    return {
        "solved": record.solved,
        "seeds": record.seeds,
        "ran": ran(record),
        "interval": [round(low, 3), round(high, 3)],
        "bad": {
            kind.value: statuses.count(kind)
            for kind in (Status.DIVERGED, Status.CRASHED, Status.UNSUPPORTED)
            if kind in statuses
        },
        "news": is_verified(record),
        "claim": record.outcome == Outcome.NEWS and not is_verified(record),
        "implausible": bool(record.implausible),
        "failed": record.outcome == Outcome.FAILED,
        "verdict": verdict(record),
        "median": to_target(record),
        "remarks": remarks(record),
    }


def result(record: Record) -> dict[str, Any]:
    """Return one optimizer's result on one case, with the data of its plots."""
    statuses, count = record.statuses, ran(record)
    arrived = [status == Status.SOLVED for status in statuses]
    times = [t["evaluations_to_target"] for t in record.trials]
    cost = [
        spent(t) if time is None else time for t, time in zip(record.trials, times, strict=True)
    ]
    time = running_time(cost, arrived) if count else None
    each = [
        t["seconds"] / spent(t)
        for t in record.trials
        if t.get("seconds") is not None and spent(t) > 0
    ]
    step = record.timing.get("seconds_per_step") or {}
    memory = record.timing.get("peak_memory_bytes")
    return {
        **cell(record),
        "ert": time,
        "step": {name: step.get(name) for name in ("median", "q1", "q3")},
        "each": median(each) if each else None,
        "clock": record.timing.get("clock"),
        "memory": None if memory is None else round(memory / MIB, 1),
        "unsolved": [t["seed"] for t in record.trials if t["status"] != Status.SOLVED],
        "rate": record.hyperparameters.get("lr"),
        "band": band(record.trials),
        "sweep": _sweep(record),
        "cost": record.tuning_cost.get("gradient_evaluations"),
        "best": [entry["evaluations"] for entry in record.tuning_cost.get("best_of") or []],
        "tracks": _tracks(record),
    }


def _sweep(record: Record) -> list[dict[str, Any]]:
    """Return the sweep by rate: the tuning seeds' final scores, and how many solved the case."""
    points: dict[float, list[dict[str, Any]]] = {}
    for point in record.tuning:
        points.setdefault(point["lr"], []).append(point)
    return [
        {
            "lr": rate,
            "scores": [p["score"] for p in found if p["score"] is not None],
            "solved": sum(p["status"] == Status.SOLVED for p in found),
            "n": len(found),
        }
        for rate, found in sorted(points.items())
    ]


def _tracks(record: Record) -> dict[str, list[dict[str, Any]]]:
    """Return each probe's readings by gradient evaluations."""
    tracks: dict[str, list[dict[str, Any]]] = {}
    for entry in record.informativeness:
        kept = {name: entry.get(name) for name in ("evaluations", "value", "resolved", "bound")}
        tracks.setdefault(entry["probe"], []).append(kept | {"interval": entry.get("interval")})
    return tracks


def arrivals(records: list[Record]) -> dict[str, Any]:
    """Return per optimizer the share of all trials that have reached the target, in both units.

    Trials that never reach it count in the denominator throughout; a case's trials end at its
    budget, so beyond the `least` budget the share is a lower bound. `interval` is the 95 % interval
    of the last share, over cases.
    """
    found: dict[str, Any] = {}
    for spec in dict.fromkeys(r.optimizer for r in records if not is_learner(r)):
        own = [r for r in records if r.optimizer == spec and not is_learner(r) and ran(r)]
        trials = [trial for r in own for trial in r.trials]
        if not trials:
            continue
        shares = [r.solved / r.seeds for r in own]
        low, high = share_interval(shares)
        if low == high:  # equal shares: resampling has no spread
            low, high = wilson(round(sum(shares)), len(shares))
        found[spec] = {
            "n": len(trials),
            "cases": len(own),
            "least": min(r.budget for r in own),
            "interval": [round(low, 3), round(high, 3)],
        }
        for unit, end in (
            ("evaluations", max(r.budget for r in own)),
            ("seconds", max(or_zero(trial.get("seconds")) for trial in trials)),
        ):
            times = [t.get(f"{unit}_to_target") for t in trials if t["status"] == Status.SOLVED]
            found[spec][unit] = _steps([t for t in times if t is not None], len(trials), end)
    return found


def _steps(times: list[float], count: int, end: float) -> list[list[float]]:
    """Return the points of a share that grows by one trial at each time, from 0 to the end."""
    points = [[0.0, 0.0]]
    points += [[float(f"{t:.4g}"), round(i / count, 4)] for i, t in enumerate(sorted(times), 1)]
    return [*points, [float(f"{max(end, points[-1][0]):.4g}"), points[-1][1]]]
