"""Runs one item: sweep, evaluation seeds, record.

One file: a record and its times are computed from the same results.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from gradbench.analysis.statistics import summary
from gradbench.architectures.factory import FixedError, build
from gradbench.optimizers.factory import resolve
from gradbench.protocol.item import Item, optimizer_of
from gradbench.protocol.plausibility import fastest_standard, implausible
from gradbench.protocol.sweep import Sweep, sweep
from gradbench.protocol.trials import ProgressCallback, TrialRunner
from gradbench.results.outcome import outcome
from gradbench.results.record import (
    Expectation,
    Outcome,
    Record,
    Status,
    TrialResult,
    finite,
    or_zero,
)
from gradbench.results.weights import to_text
from gradbench.scenarios.base import Scenario
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.text import error_line

NOTHING_PUBLISHED = "the paper trained nothing here"

DECLARE = "its class says why in gradbench_unsupported"

RECORDING = 2
"""Number of blocks of a timing run during which its steps are recorded."""

OWN_CORE = 0.9
"""Least CPU time per wall time of a process that does not share its core."""


def run_item(
    item: Item, progress: ProgressCallback = lambda _: None
) -> tuple[Record, list[TrialResult]]:
    """Run an item's sweep and its evaluation seeds.

    Return the record, and the results of the trials from which its step time was computed.
    """
    scenario = item.case.build()
    seeds = seeds_of(item)
    spec = optimizer_of(item, scenario)
    if reason := refusal(item, scenario, spec):
        results = [TrialResult(seed, Status.UNSUPPORTED, reason) for seed in seeds]
        return _record(item, scenario, results, timing(results, item.device)), results
    factory = None if spec is None else resolve(spec)
    runner = TrialRunner(item, scenario, spec, progress)
    swept = sweep(runner, factory)
    results = runner.evaluate(swept.hyperparameters, seeds)
    may_refuse = factory is None or factory.may_refuse
    if item.case.expectation is Expectation.MUST and not may_refuse:
        results = list(map(_refusal_as_crash, results))
    notes = [*swept.notes, *runner.notes]
    timed, replays = results, None
    if any(result.path != "alone" for result in results):
        timed = [runner.time(swept.hyperparameters)]
        if timed[0].reason:
            notes.append(f"its step was not timed: {timed[0].status}: {timed[0].reason}")
    if any("recorded" in result.path for result in results):
        replays = runner.time_recorded(swept.hyperparameters)
    record = _record(
        item,
        scenario,
        _with_seconds(results, timed[0]),
        _times_of(timed, replays, item.device),
        tuning=swept.entries,
        tuning_cost=_cost_with_seconds(swept, timed[0]),
        hyperparameters=({} if factory is None else factory.hyperparameters)
        | swept.hyperparameters,
        notes=notes,
    )
    return record, [replace(result, weights=None) for result in timed]  # weights are not sent


def _record(
    item: Item,
    scenario: Scenario,
    results: Sequence[TrialResult],
    times: dict[str, Any],
    *,
    notes: Sequence[str] = (),
    **more: Any,  # noqa: ANN401  # further fields of the record
) -> Record:
    """Return the record of an item with these results of its evaluation seeds and this timing.

    It equals the record that is read from its file: what is not finite is None.
    """
    expectation = _expectation(item).value
    came_to = outcome(expectation, [result.status.value for result in results])
    trials = [result.plain() for result in results]
    for trial, result in zip(trials, results, strict=True):
        if came_to is Outcome.NEWS and result.weights:
            trial["weights"] = to_text(result.weights)
    probe_seconds = {"probe_seconds": sum(result.probe_seconds for result in results)}
    fastest = fastest_standard(item.preset, item.case) if item.architecture is None else None
    own_notes = {note for result in results for note in result.notes} - set(notes)
    found = {
        "expectation": expectation,
        "outcome": came_to.value,
        "solved": sum(result.status is Status.SOLVED for result in results),
        "implausible": implausible([each.evaluations_to_target for each in results], fastest),
        "seeds": len(results),
        "trials": trials,
        "timing": times | probe_seconds,
        "path": " and ".join(dict.fromkeys(result.path for result in results)),
        "notes": [*notes, *sorted(own_notes)],
        "informativeness": [entry for result in results for entry in result.informativeness],
    }
    return Record(**finite(identity(item, scenario) | found | more))


def _times_of(
    timed: Sequence[TrialResult], replays: TrialResult | None, device: str
) -> dict[str, Any]:
    """Return the timing of plain steps, and beside it that of recorded ones where there are any."""
    found = timing(timed, device)
    if replays is None:
        return found
    return found | {"recorded_seconds_per_step": _per_step([replays], first=RECORDING)}


def identity(item: Item, scenario: Scenario) -> dict[str, Any]:
    """Return the fields of a record that do not depend on how its trials went."""
    case = item.case
    return {
        "case": case.id,
        "family": scenario.family,
        "scenario": scenario.name,
        "section": scenario.section,
        "setting": {k: v for k, v in asdict(scenario).items() if k != "approach"},
        "approach": getattr(scenario, "approach", ""),
        "optimizer": item.optimizer,
        "architecture": item.architecture,
        "budget": case.budget,
        "batch": case.batch,
        "target_score": case.target_score,
        "ladder": list(scenario.ladder),
        "key": item.key,
        "problem": item.problem,
        "why": case.why if item.architecture is None else "",
        "law": asdict(law) if (law := _law(item, scenario)) is not None else {},
    }


def _law(item: Item, scenario: Scenario) -> Law | None:
    """Return what theory predicts of the scenario's own network."""
    return scenario.law() if item.architecture is None else None


def _refusal_as_crash(result: TrialResult) -> TrialResult:
    """Turn an undeclared refusal into a crash: every optimizer must attempt a `must`."""
    if result.status is not Status.UNSUPPORTED:
        return result
    reason = f"unsupported: {result.reason}; where that is meant, {DECLARE}"
    return replace(result, status=Status.CRASHED, reason=reason)


def _with_seconds(results: Sequence[TrialResult], timed: TrialResult) -> list[TrialResult]:
    """Return results with the seconds of stacked or recorded ones, which have none of their own.

    They are computed from the seconds per evaluation of `timed`, if it took a step.
    """
    each = timed.evaluation_seconds
    if each is None:
        return list(results)
    return [
        result
        if result.path == "alone"
        else replace(
            result,
            seconds=each * result.gradient_evaluations,
            seconds_to_target=_times(each, result.evaluations_to_target),
        )
        for result in results
    ]


def _cost_with_seconds(swept: Sweep, timed: TrialResult) -> dict[str, Any]:
    """Return the sweep's cost, with seconds computed as in `_with_seconds` if it has none."""
    each = timed.evaluation_seconds
    if swept.clocked or each is None:
        return swept.cost
    return swept.cost | {"seconds": each * swept.cost["gradient_evaluations"]}


def _times(each: float, count: int | None) -> float | None:
    return None if count is None else each * count


def seeds_of(item: Item) -> list[int]:
    """Return the evaluation seeds of an item."""
    return list(range(item.first_seed, item.first_seed + item.seeds))


def crashed(item: Item, error: BaseException, tries: int = 1) -> tuple[Record, list[TrialResult]]:
    """Return the record, and the results, of an item that this error has ended."""
    reason = error_line(error) + (f", {tries} times" if tries > 1 else "")
    results = [TrialResult(seed, Status.CRASHED, reason) for seed in seeds_of(item)]
    times = timing(results, item.device)
    return _record(item, item.case.build(), results, times, key=""), results


def retimed(item: Item, record: Record) -> Record:
    """Return the record with the step time of one unstacked trial, which is run here.

    The record is unchanged where that trial takes no step.
    """
    scenario = item.case.build()
    spec = optimizer_of(item, scenario)
    given = {} if spec is None else resolve(spec).chosen(record.hyperparameters)
    timed = TrialRunner(item, scenario, spec, lambda _: None).time(given)
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
    return trial | {
        "seconds": each * _spent(trial),
        "seconds_to_target": _times(each, trial["evaluations_to_target"]),
    }


def _spent(entry: dict[str, Any]) -> int:
    """Return the gradient evaluations of a trial or a sweep; forward ones where there are none."""
    spent: int = entry["gradient_evaluations"]
    return entry["forward_evaluations"] if spent == 0 else spent


def refusal(item: Item, scenario: Scenario, spec: str | None) -> str | None:
    """Return the reason why the item cannot run; None where it can."""
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


def timing(results: Sequence[TrialResult], device: str) -> dict[str, Any]:
    """Summarise the seconds of the trials' blocks; each trial's first block is its first step."""
    first = [result.blocks[0][0] for result in results if result.blocks]
    peaks = [r.peak_memory_bytes for r in results if r.peak_memory_bytes is not None]
    return {
        "clock": results[0].clock,
        "device": device,
        "seconds_per_step": _per_step(results, first=1),
        "first_step_seconds": summary(first)["median"],
        "wall_seconds": sum(or_zero(r.timed.get("wall_seconds")) for r in results),
        "contended": _contended(results),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "launch_bound": _all(result.timed.get("launch_bound") for result in results),
        "peak_memory_bytes": max(peaks, default=None),
    }


def _per_step(results: Sequence[TrialResult], first: int) -> dict[str, float | None]:
    """Summarise the seconds per step of all blocks from the one numbered `first`."""
    blocks = [block for result in results for block in result.blocks[first:]]
    return summary([s / n for s, n in blocks], [n for _, n in blocks])


def _contended(results: Sequence[TrialResult]) -> bool | None:
    """Return whether other processes used this process's core; None where it was not measured."""
    shares = [result.timed.get("cpu_share") for result in results]
    known = [share for share in shares if share is not None]
    return min(known) < OWN_CORE if known else None


def _all(answers: Iterable[bool | None]) -> bool | None:
    known = [answer for answer in answers if answer is not None]
    return all(known) if known else None


def _expectation(item: Item) -> Expectation:
    """Return the case's expectation; `MAY` where another network replaces the case's own."""
    return item.case.expectation if item.architecture is None else Expectation.MAY
