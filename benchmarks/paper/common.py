"""What the rows share: training by the published settings, and what a row comes to."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from gradbench.results.record import TrialResult
from gradbench.scenarios.base import Scenario
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial

HERE = Path(__file__).parents[1]
FIGURE_3 = HERE / "figure3.jsonl"
YES, PART, NO, UNTESTED = "reproduces", "in part", "does not", "not yet measured"
OURS = "a question of ours"


@dataclass(frozen=True)
class Figure:
    """A drawing of lines: pairs of a label and its points, and what the axes show.

    `log` names the logarithmic axes: "x", "y", "xy" or "". Lines of one label share its colour.
    """

    x: str
    y: str
    lines: list[tuple[str, list[tuple[float, float]]]]
    log: str = ""


@dataclass(frozen=True)
class Found:
    """The verdict of a row, the numbers that it follows from, and what is known of the reason.

    `seconds` is the cost where the numbers come from trials of another command.
    """

    verdict: str
    measured: str
    reason: str = ""
    figure: Figure | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Row:
    """One statement of the paper: its place, what it says, and how it is measured."""

    id: str
    section: str
    says: str
    measure: Callable[[], Found]


def trained(
    scenario: Scenario,
    iterations: int,
    batch: int,
    *,
    seeds: int = 3,
    **given: Any,  # noqa: ANN401
) -> list[TrialResult]:
    """Train by the published settings, to the end; `given` are other fields of the trial."""
    fields = {
        "optimizer": scenario.published,
        "budget": iterations,
        "batch": batch,
        "target_score": math.inf,
        "preset": "paper",
    }
    results = [
        run_trial(Trial(scenario=scenario, seed=seed, **(fields | given))) for seed in range(seeds)
    ]
    for result in results:
        if result.reason is not None:
            raise RuntimeError(f"{scenario}: {result.status}: {result.reason}")
    return results


def curves(found: dict[str, list[TrialResult]], y: str = "score") -> Figure:
    """Return the figure of the scores of labelled trials along their gradient evaluations."""
    lines = [
        (label, [(float(at), score) for at, score, _ in result.curve if at])
        for label, results in found.items()
        for result in results
    ]
    return Figure("gradient evaluations", y, lines, "x")


def last(results: list[TrialResult]) -> list[float]:
    """Return the final scores."""
    return [r.final_score or 0.0 for r in results]


def finals(scenario: Scenario, iterations: int, batch: int, **given: Any) -> list[float]:  # noqa: ANN401
    """Return the final scores of `trained`."""
    return last(trained(scenario, iterations, batch, **given))


def spread(values: list[float]) -> str:
    """Return the median and the range of some numbers."""
    low, mid, high = (f"{v:.3g}" for v in (min(values), median(values), max(values)))
    return low if low == high else f"{mid} ({low} to {high})"


def times(results: list[TrialResult]) -> str:
    """Return the evaluations to the target, median and range."""
    found = [r.evaluations_to_target for r in results]
    known = [t for t in found if t is not None]
    reached = f"{len(known)} of {len(found)} seeds"
    return f"{spread(list(map(float, known)))}, {reached}" if known else reached


def verdict(*holds: bool) -> str:
    """Return the verdict of a statement's parts."""
    return YES if all(holds) else PART if any(holds) else NO
