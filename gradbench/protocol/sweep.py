"""The sweep over an optimizer's learning rates, or over the space that its class declares."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gradbench.optimizers.factory import Factory
from gradbench.optimizers.search_space import Axis, points
from gradbench.protocol import tuning
from gradbench.protocol.trials import TrialRunner
from gradbench.results.record import Status, TrialResult, or_zero

Values = dict[str, float]
"""Hyperparameters."""

COSTS = ("gradient_evaluations", "forward_evaluations", "seconds")


@dataclass(frozen=True)
class Sweep:
    """The trials of a sweep and its choice; empty where there was no choice.

    `hyperparameters` override the optimizer's spec. `entries` has a row per trial, in the record's
    form; `cost` is the total cost of the trials.
    """

    hyperparameters: Values = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    clocked: bool = True
    """Whether every trial was timed: stacked and recorded ones are not."""


def sweep(runner: TrialRunner, factory: Factory | None) -> Sweep:
    """Run the sweep on the tuning seeds and return its choice; empty where nothing is tuned.

    Without trials where the item has hyperparameters already.
    """
    item = runner.item
    if item.hyperparameters is not None:
        return Sweep(item.hyperparameters)
    if factory is None or item.tuning == 0 or item.optimizer == "paper":
        return Sweep()
    notes = [] if factory.rate is not None else [f"not tuned: {factory.no_rate}"]
    if factory.schedules.sets_rates:
        notes.append("not tuned: its schedule sets the learning rate")
    if factory.rate is None or not factory.tunable:
        return Sweep(notes=notes)
    search = Search(runner)
    if factory.space:
        chosen, more = _try_space(search, factory.space)
    else:
        chosen, more = _try_rates(search, factory.rate)
    if chosen is None:
        more.append("every learning rate of the sweep failed")
    return Sweep(
        {"lr": factory.rate} if chosen is None else search.values[chosen.offset],
        [_entry(factory.hyperparameters | values, result) for values, result in search.ran],
        _cost(search, item.case.budget),
        notes + more,
        clocked=all(result.path == "alone" for _, result in search.ran),
    )


def _cost(search: "Search", budget: int) -> dict[str, Any]:
    spent = {
        name: sum(or_zero(getattr(result, name)) for _, result in search.ran) for name in COSTS
    }
    return spent | {"best_of": tuning.best_of(search.points, budget)}


def _entry(hyperparameters: Values, result: TrialResult) -> dict[str, Any]:
    """Return one trial of the sweep in the record's form."""
    return {
        "lr": hyperparameters["lr"],
        "hyperparameters": hyperparameters,
        "seed": result.seed,
        "score": result.final_score,
        "status": result.status.value,
        "reason": result.reason,
        "evaluations_to_target": result.evaluations_to_target,
        "gradient_evaluations": result.gradient_evaluations,
    }


def _try_rates(search: "Search", default: float) -> tuple[tuning.Point | None, list[str]]:
    """Try the rates common to all optimizers, then further ones while the best is on the edge."""

    def rates(offsets: Sequence[float]) -> dict[float, Values]:
        return {offset: {"lr": tuning.rate(default, offset)} for offset in offsets}

    search.extend(rates(tuning.offsets(search.runner.item.tuning)))
    for _ in range(tuning.FURTHER):
        best = tuning.best(search.points)
        further = None if best is None else tuning.beyond(search.points, best)
        if further is None:
            break
        search.extend(rates([further]))
    chosen = search.settle()
    on_edge = chosen is not None and tuning.beyond(search.points, chosen) is not None
    return chosen, ["the best learning rate lies on the sweep's edge"] if on_edge else []


def _try_space(search: "Search", axes: tuple[Axis, ...]) -> tuple[tuning.Point | None, list[str]]:
    """Try as many points of the class's declared search space as a sweep has rates."""
    search.extend(dict(enumerate(points(axes, search.runner.item.tuning))))
    names = ", ".join(axis.name for axis in axes)
    return search.settle(), [f"searched the space that its class declares: {names}"]


class Search:
    """The points of one sweep, by their offset from the default, and all trials that it ran."""

    def __init__(self, runner: TrialRunner) -> None:
        self.runner = runner
        self.points: list[tuning.Point] = []
        self.values: dict[float, Values] = {}
        self.results: dict[float, list[TrialResult]] = {}
        self.ran: list[tuple[Values, TrialResult]] = []

    def extend(self, values: dict[float, Values]) -> None:
        """Try further points on the tuning seeds."""
        self.values |= values
        self.points += self._tried(values, tuning.seeds(self.runner.item.preset))

    def settle(self) -> tuning.Point | None:
        """Try the two best points on more seeds; return the better one on all of its seeds.

        Without such finalists return the best point, None where every point failed.
        """
        finalists = tuning.finalists(self.points)
        if not finalists:
            return tuning.best(self.points)
        seeds = tuning.more_seeds(self.runner.item.preset)
        again = self._tried({point.offset: self.values[point.offset] for point in finalists}, seeds)
        by_offset = {point.offset: point for point in again}
        self.points = [by_offset.get(point.offset, point) for point in self.points]
        return tuning.best(again)

    def _tried(self, values: dict[float, Values], seeds: list[int]) -> list[tuning.Point]:
        """Run these seeds at every point; return the points with all results so far."""
        planned = [(each, seed) for each in values.values() for seed in seeds]
        results = self.runner.run(planned, f"sweep, {len(values)} points")
        self.ran += [(each, result) for (each, _), result in zip(planned, results, strict=True)]
        for number, offset in enumerate(values):
            new = results[number * len(seeds) : (number + 1) * len(seeds)]
            self.results[offset] = [*self.results.get(offset, []), *new]
        return [self._point(offset) for offset in values]

    def _point(self, offset: float) -> tuning.Point:
        results, budget = self.results[offset], self.runner.item.case.budget
        broken = {Status.DIVERGED, Status.CRASHED, Status.UNSUPPORTED}
        to_target = [r.evaluations_to_target for r in results]
        return tuning.Point(
            offset,
            solved=sum(r.status is Status.SOLVED for r in results),
            evaluations=sum(budget if t is None else t for t in to_target) / len(results),
            score=sum(or_zero(r.final_score) for r in results) / len(results),
            failed=any(r.status in broken for r in results),
        )
