"""Validates a record parsed from JSON."""

from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import Any

KINDS = {
    **dict.fromkeys(("case", "family", "scenario", "section", "approach", "optimizer"), str),
    **dict.fromkeys(
        ("expectation", "outcome", "path", "key", "problem", "why", "implausible"), str
    ),
    **dict.fromkeys(("budget", "batch", "solved", "seeds"), int),
    **dict.fromkeys(
        ("setting", "timing", "hyperparameters", "tuning_cost", "verification", "law"), dict
    ),
    **dict.fromkeys(
        ("tuning", "trials", "notes", "informativeness", "ladder", "more_trials"), list
    ),
}
"""The type of each field that readers rely on."""


MOST = 2**53
"""Largest count that is accepted."""

LEAST_SCORE, MOST_SCORE = -1e100, 100.0
"""A normalised score is about 1 at the most; the worst may be far below 0."""


def problem(data: dict[str, Any], statuses: AbstractSet[str]) -> str:
    """Return the first reason why parsed JSON is no record, as text; empty where it is one.

    `statuses` are the valid statuses of a trial.
    """
    for name, kind in KINDS.items():
        if not isinstance(data[name], kind):
            return f"{name} is no {kind.__name__}"
    if not isinstance(data["architecture"], str | None):
        return "architecture is no str"
    checks = (
        ("trials", lambda trial: _is_trial(trial, statuses)),
        ("more_trials", lambda trial: _is_trial(trial, statuses)),
        ("tuning", _is_point),
        ("informativeness", is_reading),
        ("notes", lambda note: isinstance(note, str)),
    )
    for name, check in checks:
        if not all(map(check, data[name])):
            return f"its {name} are no {name}"
    for name, holds in (("tuning_cost", is_cost), ("timing", _is_timing), ("law", _is_law)):
        if not holds(data[name]):
            return f"its {name} is no {name}"
    return unlikely(data)


def unlikely(data: dict[str, Any]) -> str:
    """Return the first impossible value in fields of valid types, as text; empty if none."""
    if data["budget"] < 1:
        return "budget is below 1"
    if not 0 <= data["solved"] <= data["seeds"]:
        return f"solved: {data['solved']} of {data['seeds']} seeds"
    if found := _contradiction(data):
        return found
    if not all(_is_axis(data["setting"], axis) for axis in data["ladder"]):
        return "its ladder is no ladder"
    return "" if _is_number(data["hyperparameters"].get("lr")) else "its rate is no number"


def _contradiction(data: dict[str, Any]) -> str:
    """Return the first contradiction in a record's trials and counts, as text; empty if none."""
    trials = data["trials"]
    if not trials:
        return ""
    if len({trial["seed"] for trial in trials}) < len(trials):
        return "trials: two of one seed"
    solved = sum(trial["status"] == "solved" for trial in trials)
    if (data["seeds"], data["solved"]) != (len(trials), solved):
        said = f"{data['solved']} of {data['seeds']}"
        return f"solved: {said}, and {solved} of its {len(trials)} trials"
    return next((found for trial in trials if (found := _strange(trial, data["budget"]))), "")


def _strange(trial: dict[str, Any], budget: int) -> str:
    """Return the first impossible value in a trial, as text; empty if none."""
    to_target, score = trial["evaluations_to_target"], trial.get("final_score")
    if (trial["status"] == "solved") != (to_target is not None):
        return f"evaluations_to_target: {to_target} of a trial that is {trial['status']}"
    if to_target is not None and to_target > budget:
        return f"evaluations_to_target: {to_target} beyond the budget of {budget}"
    if score is not None and not LEAST_SCORE <= score <= MOST_SCORE:
        return f"final_score: {score:g}, where 0 is chance and 1 solved"
    evaluation_steps = [point[0] for point in trial.get("curve") or []]
    back = any(after <= before for before, after in pairwise(evaluation_steps))
    return "curve: its evaluations run backwards" if back else ""


def _is_count(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value <= MOST)


def _is_number(value: object) -> bool:
    """Whether it is null, a float of any size (losses are), or an integer that a float holds."""
    kind = type(value)
    return kind is float or value is None or (kind is int and -MOST <= value <= MOST)  # type: ignore[operator]


def _is_axis(setting: dict[str, Any], axis: object) -> bool:
    return (
        isinstance(axis, str) and setting.get(axis, 0) is not None and _is_number(setting.get(axis))
    )


def _holds(data: object, *numbers: str, **kinds: type) -> bool:
    """Whether it is an object with numbers or null under `numbers`, and the types of `kinds`."""
    if not isinstance(data, dict):
        return False
    for name in numbers:  # not all(...): records have hundreds of numbers
        if not _is_number(data.get(name)):
            return False
    return all(isinstance(data.get(name), kind) for name, kind in kinds.items())


def _has(data: object, *numbers: str, **kinds: type) -> bool:
    """Whether `_holds` is true of it and none of the numbers is missing."""
    return _holds(data, *numbers, **kinds) and all(name in data for name in numbers)  # type: ignore[operator]


def _is_trial(data: object, statuses: AbstractSet[str]) -> bool:
    counts = ("gradient_evaluations", "forward_evaluations", "evaluations_to_target")
    numbers = (*counts, "seconds", "seconds_to_target", "final_score")
    if not isinstance(data, dict) or not _holds(data, *numbers, seed=int, status=str):
        return False
    curve = data.get("curve", [])
    return (
        data["status"] in statuses
        and all(_is_count(data.get(name)) for name in counts)
        and "evaluations_to_target" in data
        and isinstance(data.get("reason"), str | None)
        and isinstance(data.get("details", {}), dict)
        and isinstance(curve, list | tuple)
        and all(map(_is_curve_point, curve))
    )


def _is_curve_point(point: object) -> bool:
    """Whether it is a point of a curve: evaluations, which are never null, score and loss."""
    return (
        isinstance(point, list | tuple)
        and len(point) >= 2
        and point[0] is not None
        and all(map(_is_number, point))
    )


def _is_point(data: object) -> bool:
    if not isinstance(data, dict) or not _has(data, "lr", "seed", "score", status=str):
        return False
    if not isinstance(data.get("hyperparameters"), dict | None):
        return False
    return data["lr"] is not None and data["seed"] is not None


def is_reading(data: object) -> bool:
    """Whether it is a probe's reading."""
    if not _holds(data, "evaluations", "value", "error", "bound", probe=str):
        return False
    entry = data if isinstance(data, dict) else {}
    interval = entry.get("interval")
    pair = isinstance(interval, list | tuple) and len(interval) == 2
    return (entry.get("evaluations") is not None and "value" in entry) and (
        interval is None or (pair and all(map(_is_number, interval)))
    )


def _is_law(data: dict[str, Any]) -> bool:
    texts = {"quantity": str, "source": str, "axis": str}
    return not data or _has(data, "predicted", "exponent", in_evaluations=bool, **texts)


def is_cost(data: dict[str, Any]) -> bool:
    """Whether data is the cost of a sweep, or empty."""
    best = data.get("best_of") or []
    return (
        _holds(data, "gradient_evaluations", "forward_evaluations", "seconds")
        and isinstance(best, list)
        and all(_has(each, "k", "evaluations", "score") for each in best)
        and all(each.get("evaluations") is not None for each in best)
    )


def _is_timing(data: dict[str, Any]) -> bool:
    steps = [data.get(name) or {} for name in ("seconds_per_step", "recorded_seconds_per_step")]
    return (
        all(_holds(step, "median", "q1", "q3", "mean") for step in steps)
        and _holds(data, "peak_memory_bytes", "probe_seconds", "first_step_seconds", "case_seconds")
        and isinstance(data.get("clock"), str | None)
    )
