"""Learning curves of several seeds as one line and its band."""

from typing import Any

import numpy as np

from gradbench.results.record import Status, or_zero


def band(trials: list[dict[str, Any]]) -> dict[str, list[float | None]] | None:
    """Return evaluations `x` and the seeds' median, lowest and highest score at each of them.

    A trial that ended early keeps its last score. A diverged trial has its lowest score from its
    end on. None where no trial has a curve.
    """
    curves = [_curve(trial) for trial in trials]
    curves = [(x, y) for x, y in curves if len(x)]
    if not curves:
        return None
    x = np.unique(np.concatenate([x for x, _ in curves]))
    # before its first score, a trial is at that one
    places = [np.searchsorted(xs, x, side="right") - 1 for xs, _ in curves]
    scores = np.stack([y[np.maximum(at, 0)] for at, (_, y) in zip(places, curves, strict=True)])
    return {
        "x": x.tolist(),
        "mid": _rounded(np.median(scores, axis=0)),
        "low": _rounded(scores.min(axis=0)),
        "high": _rounded(scores.max(axis=0)),
    }


def _curve(trial: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps and scores of a trial's evaluations, without missing scores."""
    curve = [point for point in trial.get("curve") or [] if None not in point[:2]]
    x, y = (np.array([point[i] for point in curve], dtype=float) for i in range(2))
    if trial["status"] == Status.DIVERGED and len(y):
        x, y = np.append(x, max(float(spent(trial)), x[-1] + 1)), np.append(y, y.min())
    return x, y


def spent(trial: dict[str, Any]) -> int:
    """Return the number of gradient and forward evaluations that a trial took."""
    return sum(int(or_zero(trial.get(f"{kind}_evaluations"))) for kind in ("gradient", "forward"))


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.4g}") for v in values]
