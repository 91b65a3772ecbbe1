"""The unit of work: one case with one optimizer, from the learning-rate sweep to the record."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from gradbench import tuning
from gradbench.architectures import FixedError, build
from gradbench.case import Case
from gradbench.optimizers import Factory, resolve
from gradbench.record import Expectation, Record, Status, TrialResult
from gradbench.runner import run_trial
from gradbench.scenario import Scenario
from gradbench.space import Axis, points
from gradbench.statistics import summary
from gradbench.trial import Trial
from gradbench.verdict import outcome

Tell = Callable[[str], None]
"""Is told, in a few words, what is being done."""


NOTHING_PUBLISHED = "the paper trained nothing here"

PROBE_SHARE = 10
"""The probes take at most one gradient evaluation for so many in the case's evaluation trials."""

ESTIMATE = 40
"""Evaluations run to estimate what one costs."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A case and who attempts it, as plain data that can travel to another process.

    `optimizer` is a spec, `paper` for the one the paper trained with, or `none` where the approach
    takes none. `architecture` is the spec of a network in the place of the case's own, or None.
    `tuning` is the number of points of the sweep; 0 takes the optimizer as it comes.
    `probes` (none, default, all) look at the first evaluation trial.
    """

    case: Case
    optimizer: str
    preset: str = "quick"
    seeds: int = 5
    tuning: int = 5
    device: str = "cpu"
    dtype: str = "float32"
    probes: str = "none"
    architecture: str | None = None


def run_item(item: Item, tell: Tell = lambda _: None) -> tuple[Record, list[TrialResult]]:
    """Sweep, choose the rate, run the evaluation seeds; return the record and their results."""
    scenario = item.case.build()
    record = _blank(item, scenario)
    seeds = list(range(item.seeds))
    spec = optimizer_of(item, scenario)
    if reason := _refusal(item, scenario, spec):
        results = [TrialResult(seed, Status.UNSUPPORTED, reason) for seed in seeds]
    else:
        attempt = _Attempt(item, scenario, spec, record, tell)
        hyperparameters = attempt.sweep()
        results = attempt.trials(hyperparameters, seeds, "seed")
        record.hyperparameters = attempt.defaults | hyperparameters
    record.trials = [result.plain() for result in results]
    record.solved = sum(result.status is Status.SOLVED for result in results)
    record.seeds = len(results)
    record.outcome = outcome(record.expectation, record.statuses).value
    record.timing = timing(results, item.device)
    record.informativeness = [entry for result in results for entry in result.informativeness]
    record.notes += sorted({note for result in results for note in result.notes})
    return record, results


def _refusal(item: Item, scenario: Scenario, spec: str | None) -> str | None:
    """Return why the item need not be tried; None where it is to be."""
    if spec is None and item.case.takes_optimizer:
        return NOTHING_PUBLISHED
    if item.architecture is None:
        return None
    try:
        with torch.random.fork_rng(devices=[]):
            build(scenario, item.architecture)
    except FixedError as error:
        return str(error)
    return None


def optimizer_of(item: Item, scenario: Scenario) -> str | None:
    """Return the spec of the optimizer that attempts the item.

    None where the approach takes none, and where the paper trained nothing.
    """
    if not item.case.takes_optimizer:
        return None
    return scenario.published if item.optimizer == "paper" else item.optimizer


def estimate(item: Item) -> tuple[int, float, str | None]:
    """Return the most gradient evaluations that the item may take, about how many seconds, and
    what is wrong where it cannot run.

    The seconds are measured: a few steps are run here.
    """  # noqa: D205
    case, scenario = item.case, item.case.build()
    spec = optimizer_of(item, scenario)
    if reason := _refusal(item, scenario, spec):
        return 0, 0.0, f"{Status.UNSUPPORTED}: {reason}"
    sweeps = bool(item.tuning and spec and resolve(spec).tunable and item.optimizer != "paper")
    points = item.tuning + (item.tuning > 1) if sweeps else 0
    evaluations = case.budget * (item.seeds + points * len(tuning.seeds(item.preset)))
    if item.probes != "none" and case.takes_optimizer:
        evaluations += case.budget * item.seeds // PROBE_SHARE
    trial = Trial(
        scenario=scenario,
        optimizer=spec,
        budget=ESTIMATE,
        batch=case.batch,
        target_score=float("inf"),
        device=item.device,
        dtype=item.dtype,
        architecture=item.architecture,
    )
    run_trial(trial)  # the first steps are slower than the rest
    result = run_trial(trial)
    spent = result.gradient_evaluations + result.forward_evaluations
    seconds = sum(seconds for seconds, _ in result.blocks)
    broken = result.status in {Status.CRASHED, Status.UNSUPPORTED}
    trouble = f"{result.status}: {result.reason}" if broken else None
    return evaluations, evaluations * seconds / max(1, spent), trouble


def timing(results: Sequence[TrialResult], device: str) -> dict[str, Any]:
    """Summarise the seconds of the trials' blocks; each trial's first block is its first step."""
    rest = [s / n for result in results for s, n in result.blocks[1:]]
    weights = [n for result in results for _, n in result.blocks[1:]]
    first = [result.blocks[0][0] for result in results if result.blocks]
    peaks = [r.peak_memory_bytes for r in results if r.peak_memory_bytes is not None]
    return {
        "clock": results[0].clock,
        "device": device,
        "seconds_per_step": summary(rest, weights),
        "first_step_seconds": summary(first)["median"],
        "contended": None,  # not measured
        "launch_bound": None,
        "peak_memory_bytes": max(peaks, default=None),
        "probe_seconds": sum(result.probe_seconds for result in results),
    }


def _blank(item: Item, scenario: Scenario) -> Record:
    case = item.case
    return Record(
        case=case.id,
        family=scenario.family,
        scenario=scenario.name,
        section=scenario.section,
        setting={name: value for name, value in asdict(scenario).items() if name != "approach"},
        approach=getattr(scenario, "approach", ""),
        optimizer=item.optimizer,
        expectation=_expectation(item).value,
        architecture=item.architecture,
        budget=case.budget,
        batch=case.batch,
        target_score=case.target_score,
        ladder=list(scenario.ladder),
    )


def _expectation(item: Item) -> Expectation:
    """Return what is asked: of a network that nobody has measured, nothing."""
    return item.case.expectation if item.architecture is None else Expectation.MAY


class _Attempt:
    """One item under way."""

    def __init__(
        self, item: Item, scenario: Scenario, spec: str | None, record: Record, tell: Tell
    ) -> None:
        self.item, self.scenario, self.spec = item, scenario, spec
        self.record, self.tell = record, tell
        self.factory: Factory | None = None if spec is None else resolve(spec)
        self.defaults = {} if self.factory is None else self.factory.hyperparameters
        self.points: list[tuning.Point] = []

    def trials(
        self, hyperparameters: dict[str, float], seeds: list[int], kind: str
    ) -> list[TrialResult]:
        """Run one trial per seed with these hyperparameters."""
        case, item = self.item.case, self.item
        results: list[TrialResult] = []
        for number, seed in enumerate(seeds, start=1):
            rates = "".join(f", {name} {value:g}" for name, value in hyperparameters.items())
            prefix = f"{kind} {number}/{len(seeds)}{rates}"

            def watch(spent: int, score: float, prefix: str = prefix) -> None:
                self.tell(f"{prefix}, {spent}/{case.budget} evaluations, score {score:.2f}")

            trial = Trial(
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
                probes=item.probes if (kind, number) == ("seed", 1) else "none",
                probe_budget=case.budget * item.seeds // PROBE_SHARE,
            )
            results.append(run_trial(trial, watch))
        return results

    def sweep(self) -> dict[str, float]:
        """Try the rates on the tuning seeds and return the best one, where there is a choice."""
        if self.factory is None or self.item.tuning == 0 or self.item.optimizer == "paper":
            return {}
        rate = self.factory.rate
        if rate is None:
            self.record.notes.append("not tuned: its constructor takes no lr")
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
        """Try everyone's rates, and one beyond the edge where the best lies on it."""

        def attempt(offset: float) -> tuning.Point:
            return self._point({"lr": tuning.rate(default, offset)}, offset)

        self.points = [attempt(offset) for offset in tuning.offsets(self.item.tuning)]
        chosen = tuning.best(self.points)
        further = None if chosen is None else tuning.beyond(self.points, chosen)
        if further is not None:
            self.points.append(attempt(further))
            chosen = tuning.best(self.points)
            if chosen is self.points[-1]:
                self.record.notes.append("the best learning rate lies on the sweep's edge")
        return chosen, {} if chosen is None else {"lr": tuning.rate(default, chosen.offset)}

    def _search(self, axes: tuple[Axis, ...]) -> tuple[tuning.Point | None, dict[str, float]]:
        """Try points of the space that the optimizer's class declares, as many as the rates."""
        values = points(axes, self.item.tuning)
        self.points = [self._point(each, float(i)) for i, each in enumerate(values)]
        chosen = tuning.best(self.points)
        names = ", ".join(axis.name for axis in axes)
        self.record.notes.append(f"searched the space that its class declares: {names}")
        return chosen, {} if chosen is None else values[self.points.index(chosen)]

    def _point(self, values: dict[str, float], offset: float) -> tuning.Point:
        results = self.trials(values, tuning.seeds(self.item.preset), "sweep, seed")
        cost = self.record.tuning_cost
        for name in ("gradient_evaluations", "forward_evaluations", "seconds"):
            spent = sum(getattr(result, name) or 0 for result in results)
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
        broken = {Status.DIVERGED, Status.CRASHED, Status.UNSUPPORTED}
        budget = self.item.case.budget
        return tuning.Point(
            offset,
            solved=sum(r.status is Status.SOLVED for r in results),
            evaluations=sum(r.evaluations_to_target or budget for r in results) / len(results),
            score=sum(r.final_score or 0.0 for r in results) / len(results),
            failed=any(r.status in broken for r in results),
        )
