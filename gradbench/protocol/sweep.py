"""The sweep of an item, the choice of a point, and the evaluation trials."""

import math
from collections.abc import Callable, Sequence

from gradbench.optimizers.factory import Factory, resolve
from gradbench.optimizers.search_space import Axis, points
from gradbench.protocol import tuning
from gradbench.protocol.item import Item
from gradbench.results.record import Record, Status, TrialResult, or_zero
from gradbench.scenarios.base import Scenario
from gradbench.training.runner import run, time_trial
from gradbench.training.trial import Trial

ProgressCallback = Callable[[str], None]
"""Called with a short text on what is being done."""

Planned = tuple[dict[str, float], int]
"""Hyperparameters and a seed."""

PROBE_SHARE = 10
"""Gradient evaluations of the evaluation trials for each one that the probes may use."""


class Attempt:
    """One item under way."""

    def __init__(
        self,
        item: Item,
        scenario: Scenario,
        spec: str | None,
        record: Record,
        progress: ProgressCallback,
    ) -> None:
        self.item, self.scenario, self.spec = item, scenario, spec
        self.record, self.progress = record, progress
        self.factory: Factory | None = None if spec is None else resolve(spec)
        self.defaults = {} if self.factory is None else self.factory.hyperparameters
        self.points: list[tuning.Point] = []
        self.results: dict[float, list[TrialResult]] = {}
        self.stack = item.stack

    @property
    def may_refuse(self) -> bool:
        """Whether it is declared that the optimizer is not for every network."""
        return self.factory is None or self.factory.may_refuse

    def trials(
        self, planned: Sequence[Planned], what: str, probes: str = "none"
    ) -> list[TrialResult]:
        """Run trials of these hyperparameters and seeds; the first is probed.

        Once one ran alone all do, so that a record has one path.
        """
        case = self.item.case
        trials = [
            self._trial(hyperparameters, seed, "none" if number else probes)
            for number, (hyperparameters, seed) in enumerate(planned)
        ]
        best = -math.inf

        def watch(spent: int, score: float) -> None:
            nonlocal best
            best = max(best, score)
            self.progress(f"{what}, {spent}/{case.budget} evaluations, best score {best:.2f}")

        results = run(trials, [watch] * len(trials), stack=self.stack)
        if any(result.path == "alone" for result in results):
            self.stack = "off"
        elif any(result.path == "stacked" and result.fallback for result in results):
            self.stack = "unrecorded"
        for fallback in dict.fromkeys(result.fallback for result in results):
            if fallback and fallback not in self.record.notes:
                self.record.notes.append(fallback)
        return results

    def _trial(self, hyperparameters: dict[str, float], seed: int, probes: str = "none") -> Trial:
        case, item = self.item.case, self.item
        return Trial(
            scenario=self.scenario,
            optimizer=self.spec,
            seed=seed,
            budget=case.budget,
            batch=case.batch,
            target_score=case.target_score,
            hyperparameters=hyperparameters,
            preset=item.preset,
            device=item.device,
            dtype=item.dtype,
            architecture=item.architecture,
            probes=probes,
            probe_budget=case.budget * item.seeds // PROBE_SHARE,
        )

    def evaluate(self, hyperparameters: dict[str, float], seeds: list[int]) -> list[TrialResult]:
        """Run the evaluation seeds."""
        rates = "".join(f", {name} {value:g}" for name, value in hyperparameters.items())
        planned = [(hyperparameters, seed) for seed in seeds]
        return self.trials(planned, f"{len(seeds)} seeds{rates}", self.item.probes)

    def sweep(self) -> dict[str, float]:
        """Try the rates on the tuning seeds and return the best one, where there is a choice."""
        if self.factory is None or self.item.tuning == 0 or self.item.optimizer == "paper":
            return {}
        rate = self.factory.rate
        if rate is None:
            self.record.notes.append(f"not tuned: {self.factory.no_rate}")
        if self.factory.schedules.sets_rates:
            self.record.notes.append("not tuned: its schedule sets the learning rate")
        if rate is None or not self.factory.tunable:
            return {}
        if self.factory.space:
            chosen, values = self._search(self.factory.space)
        else:
            chosen, values = self._rates(rate)
        self.record.tuning_cost["best_of"] = tuning.best_of(self.points, self.item.case.budget)
        if chosen is None:
            self.record.notes.append("every learning rate of the sweep failed")
            return {"lr": rate}
        return values

    def _rates(self, default: float) -> tuple[tuning.Point | None, dict[str, float]]:
        """Try everyone's rates, then further ones while the best lies on the sweep's edge."""

        def values(offsets: Sequence[float]) -> dict[float, dict[str, float]]:
            return {offset: {"lr": tuning.rate(default, offset)} for offset in offsets}

        tried = values(tuning.offsets(self.item.tuning))
        self.points = self._points(tried)
        for _ in range(tuning.FURTHER):
            chosen = tuning.best(self.points)
            further = None if chosen is None else tuning.beyond(self.points, chosen)
            if further is None:
                break
            more = values([further])
            tried |= more
            self.points += self._points(more)
        chosen = self._settle(tried)
        if chosen is not None and tuning.beyond(self.points, chosen) is not None:
            self.record.notes.append("the best learning rate lies on the sweep's edge")
        return chosen, {} if chosen is None else tried[chosen.offset]

    def _search(self, axes: tuple[Axis, ...]) -> tuple[tuning.Point | None, dict[str, float]]:
        """Try points of the space that the optimizer's class declares, as many as the rates."""
        tried: dict[float, dict[str, float]] = dict(enumerate(points(axes, self.item.tuning)))
        self.points = self._points(tried)
        chosen = self._settle(tried)
        names = ", ".join(axis.name for axis in axes)
        self.record.notes.append(f"searched the space that its class declares: {names}")
        return chosen, {} if chosen is None else tried[chosen.offset]

    def _settle(self, tried: dict[float, dict[str, float]]) -> tuning.Point | None:
        """Try the two best points on more seeds, and return the one that holds on most of them."""
        finalists = tuning.finalists(self.points)
        if not finalists:
            return tuning.best(self.points)
        seeds = tuning.more_seeds(self.item.preset)
        before = {point.offset: self.results[point.offset] for point in finalists}
        again = self._points({offset: tried[offset] for offset in before}, seeds, before)
        by_offset = {point.offset: point for point in again}
        self.points = [by_offset.get(point.offset, point) for point in self.points]
        return tuning.best(again)

    def _points(
        self,
        tried: dict[float, dict[str, float]],
        seeds: list[int] | None = None,
        before: dict[float, list[TrialResult]] | None = None,
    ) -> list[tuning.Point]:
        """Run tuning seeds at these points, by offset, all beside each other.

        A point counts the results from before, too.
        """
        seeds = tuning.seeds(self.item.preset) if seeds is None else seeds
        planned = [(each, seed) for each in tried.values() for seed in seeds]
        results = self.trials(planned, f"sweep, {len(tried)} points")
        found = []
        for number, (offset, values) in enumerate(tried.items()):
            new = results[number * len(seeds) : (number + 1) * len(seeds)]
            self._keep(values, new)
            self.results[offset] = [*(before or {}).get(offset, []), *new]
            found.append(self._point(offset, self.results[offset]))
        return found

    def _keep(self, values: dict[str, float], results: list[TrialResult]) -> None:
        """Record what a point came to."""
        cost = self.record.tuning_cost
        for name in ("gradient_evaluations", "forward_evaluations", "seconds"):
            spent = sum(or_zero(getattr(result, name)) for result in results)
            cost[name] = cost.get(name, 0) + spent
        self.record.tuning += [
            {
                "lr": (self.defaults | values)["lr"],
                "hyperparameters": self.defaults | values,
                "seed": result.seed,
                "score": result.final_score,
                "status": result.status.value,
                "reason": result.reason,
                "evaluations_to_target": result.evaluations_to_target,
                "gradient_evaluations": result.gradient_evaluations,
            }
            for result in results
        ]

    def _point(self, offset: float, results: list[TrialResult]) -> tuning.Point:
        broken = {Status.DIVERGED, Status.CRASHED, Status.UNSUPPORTED}
        to_target = [r.evaluations_to_target for r in results]
        budget = self.item.case.budget
        return tuning.Point(
            offset,
            solved=sum(r.status is Status.SOLVED for r in results),
            evaluations=sum(budget if t is None else t for t in to_target) / len(results),
            score=sum(or_zero(r.final_score) for r in results) / len(results),
            failed=any(r.status in broken for r in results),
        )

    def time(self, hyperparameters: dict[str, float]) -> TrialResult:
        """Take the first steps of one trial alone."""
        return time_trial(self._trial(hyperparameters, 0))

    def timed(
        self, hyperparameters: dict[str, float], results: list[TrialResult]
    ) -> list[TrialResult]:
        """Return results of which the step time is that of one trial alone.

        Trials that trained beside others have no time of their own: one is run again for a while,
        and theirs are what so many of its steps take.
        """
        if results[0].path == "alone":
            return results
        timed = self.time(hyperparameters)
        if timed.reason:
            self.record.notes.append(f"its step was not timed: {timed.status}: {timed.reason}")
        each = timed.evaluation_seconds
        if each is not None:
            for result in results:
                result.seconds = each * result.gradient_evaluations
                if result.evaluations_to_target is not None:
                    result.seconds_to_target = each * result.evaluations_to_target
            cost = self.record.tuning_cost
            if cost:
                cost["seconds"] = each * cost["gradient_evaluations"]
        return [timed]
