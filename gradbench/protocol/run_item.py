"""Runs one item: sweep, evaluation seeds, record."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from gradbench.analysis.statistics import summary
from gradbench.architectures.factory import FixedError, build
from gradbench.optimizers.factory import resolve
from gradbench.protocol import tuning
from gradbench.protocol.item import Item, optimizer_of
from gradbench.protocol.sweep import PROBE_SHARE, Attempt, ProgressCallback
from gradbench.results.outcome import outcome
from gradbench.results.record import Expectation, Outcome, Record, Status, TrialResult, or_zero
from gradbench.results.weights import to_text
from gradbench.scenarios.base import Scenario
from gradbench.scenarios.draws import Draws
from gradbench.text import printable
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial

NOTHING_PUBLISHED = "the paper trained nothing here"

DECLARE = "its class says why in gradbench_unsupported"

OWN_CORE = 0.9
"""Share of the wall time that a process computes when it has its core to itself, at the least."""

ESTIMATE = 40
"""Evaluations run to estimate what one costs."""


def run_item(
    item: Item, progress: ProgressCallback = lambda _: None
) -> tuple[Record, list[TrialResult]]:
    """Sweep, choose the rate, run the evaluation seeds; return the record.

    And the results from whose blocks its step time comes: of trials that ran alone.
    """
    scenario = item.case.build()
    record = _blank(item, scenario)
    seeds = list(range(item.seeds))
    spec = optimizer_of(item, scenario)
    if reason := _refusal(item, scenario, spec):
        results = [TrialResult(seed, Status.UNSUPPORTED, reason) for seed in seeds]
        timed = results
    else:
        attempt = Attempt(item, scenario, spec, record, progress)
        hyperparameters = attempt.sweep()
        results = attempt.evaluate(hyperparameters, seeds)
        if item.case.expectation is Expectation.MUST and not attempt.may_refuse:
            for result in results:
                _count_as_crash(result)
        timed = attempt.timed(hyperparameters, results)
        record.hyperparameters = attempt.defaults | hyperparameters
    record.trials = [result.plain() for result in results]
    record.solved = sum(result.status is Status.SOLVED for result in results)
    record.seeds = len(results)
    record.outcome = outcome(record.expectation, record.statuses).value
    for trial, result in zip(record.trials, results, strict=True):
        if record.outcome == Outcome.NEWS and result.weights:
            trial["weights"] = to_text(result.weights)
    for result in (*results, *timed):
        result.weights = None  # need not travel
    record.path = results[0].path
    record.timing = timing(timed, item.device)
    record.timing["probe_seconds"] = sum(result.probe_seconds for result in results)
    record.informativeness = [entry for result in results for entry in result.informativeness]
    notes = {note for result in results for note in result.notes} - set(record.notes)
    record.notes += sorted(notes)
    return record, timed


def _count_as_crash(result: TrialResult) -> None:
    """Turn an undeclared refusal into a crash: every optimizer must attempt a `must`."""
    if result.status is Status.UNSUPPORTED:
        result.status = Status.CRASHED
        result.reason = f"unsupported: {result.reason}; where that is meant, {DECLARE}"


def crashed(item: Item, error: BaseException, tries: int = 1) -> tuple[Record, list[TrialResult]]:
    """Return what is recorded of an item that could not be run to its end, for this error."""
    record = _blank(item, item.case.build())
    record.key = ""
    message = printable((str(error).splitlines() or [""])[0][:300])
    times = f", {tries} times" if tries > 1 else ""
    reason = f"{type(error).__name__}: {message}{times}"
    results = [TrialResult(seed, Status.CRASHED, reason) for seed in range(item.seeds)]
    record.trials = [result.plain() for result in results]
    record.seeds = item.seeds
    record.outcome = outcome(record.expectation, record.statuses).value
    record.timing = timing(results, item.device)
    return record, results


def retimed(item: Item, record: Record) -> Record:
    """Return the record with the step time of one trial that runs alone, here and now.

    As it is, where that trial takes no step.
    """
    scenario = item.case.build()
    attempt = Attempt(item, scenario, optimizer_of(item, scenario), record, lambda _: None)
    given = attempt.factory.chosen(record.hyperparameters) if attempt.factory else {}
    timed = attempt.time(given)
    each = timed.evaluation_seconds
    if each is None:
        return record
    trials = [_taking(trial, each) for trial in record.trials]
    cost = record.tuning_cost
    if cost:
        cost = cost | {"seconds": each * _spent(cost)}
    now = timing([timed], item.device)
    return replace(record, trials=trials, tuning_cost=cost, timing=record.timing | now)


def _taking(trial: dict[str, Any], each: float) -> dict[str, Any]:
    """Return a trial with its times if an evaluation takes `each` seconds."""
    to_target = trial["evaluations_to_target"]
    return trial | {
        "seconds": each * _spent(trial),
        "seconds_to_target": None if to_target is None else each * to_target,
    }


def _spent(entry: dict[str, Any]) -> int:
    """Return the gradient evaluations of a trial or a sweep; forward ones where there are none."""
    spent: int = entry["gradient_evaluations"]
    return entry["forward_evaluations"] if spent == 0 else spent


def _refusal(item: Item, scenario: Scenario, spec: str | None) -> str | None:
    """Return why the item need not be tried; None where it is to be."""
    if spec is None and item.case.takes_optimizer:
        return NOTHING_PUBLISHED
    if item.architecture is None:
        return None
    try:
        with torch.random.fork_rng(devices=[]):
            build(scenario, item.architecture, Draws(0))
    except FixedError as error:
        return str(error)
    return None


def estimate(item: Item) -> tuple[int, float, str | None]:
    """Return the most gradient evaluations that the item may take, about how many seconds, and
    what is wrong where it cannot run.

    The seconds are measured: a few steps are run here.
    """  # noqa: D205
    case, scenario = item.case, item.case.build()
    spec = optimizer_of(item, scenario)
    if reason := _refusal(item, scenario, spec):
        return 0, 0.0, f"{Status.UNSUPPORTED}: {reason}"
    sweeps = bool(item.tuning > 0 and spec and resolve(spec).tunable and item.optimizer != "paper")
    points = item.tuning + (item.tuning > 1) if sweeps else 0
    again = tuning.FINALISTS * tuning.MORE_SEEDS if points > 1 else 0
    sweep = points * len(tuning.seeds(item.preset)) + again
    evaluations = case.budget * (item.seeds + sweep)
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
        "wall_seconds": sum(or_zero(r.timed.get("wall_seconds")) for r in results),
        "contended": _contended(results),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "launch_bound": _all(result.timed.get("launch_bound") for result in results),
        "peak_memory_bytes": max(peaks, default=None),
    }


def _contended(results: Sequence[TrialResult]) -> bool | None:
    """Return whether others had this process's core; None where the clock cannot tell."""
    shares = [result.timed.get("cpu_share") for result in results]
    known = [share for share in shares if share is not None]
    return min(known) < OWN_CORE if known else None


def _all(answers: Iterable[bool | None]) -> bool | None:
    known = [answer for answer in answers if answer is not None]
    return all(known) if known else None


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
        key=item.key,
        problem=item.problem,
        why=item.case.why if item.architecture is None else "",
    )


def _expectation(item: Item) -> Expectation:
    """Return what is asked: of a network that nobody has measured, nothing."""
    return item.case.expectation if item.architecture is None else Expectation.MAY
