"""A batch of trials in, their results out."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from gradbench import architectures
from gradbench.batches import CHUNK
from gradbench.clock import reset_peak_memory
from gradbench.optimizers import UnsupportedError, resolve
from gradbench.record import Status, TrialResult
from gradbench.stack.agreement import agrees
from gradbench.stack.audit import Sharing
from gradbench.stack.graph import make_capturable
from gradbench.stack.rule import way
from gradbench.stack.training import GUARD, Stack
from gradbench.streams import isolated, one_thread
from gradbench.training import Training, Watch, one_line
from gradbench.trial import Trial

MOST_BYTES = 2**28
"""About what a stack may take."""

TIMED = 16
"""Blocks of a timing run, of eight steps each, after the first step."""

UNEQUAL = "on a stack a trial failed or had other numbers than apart: run one at a time"

FAST = ("compile", "graph")
"""Ways to make a stack faster that are taken where they can be, and only when asked for."""


def run(
    trials: Sequence[Trial],
    watches: Sequence[Watch] | None = None,
    *,
    stack: str = "auto",
    guard: bool = True,
) -> list[TrialResult]:
    """Run the trials; each one's numbers do not depend on the others.

    Trials of one case train together where that pays (`stack="auto"`), wherever it can be (`"on"`)
    or never (`"off"`); each result's `path` says how. `"compile"` and `"graph"` are as `"auto"`,
    with a stack's passes compiled by torch.compile, or its steps recorded and replayed by the
    accelerator. With `guard`, one trial of each stack is trained apart for 50 steps too: were a bit
    to differ, all would run in a plainer way, at last one at a time, and `fallback` would say so.

    Raises SpecError where an optimizer's or an architecture's spec cannot be resolved.
    """
    found: dict[int, TrialResult] = {}
    watched = list(watches or [lambda *_: None] * len(trials))
    for members in _alike(trials):
        chosen = [(trials[i], watched[i]) for i in members]
        found |= dict(zip(members, _run_alike(chosen, stack, guard=guard), strict=True))
    return [found[i] for i in range(len(trials))]


def run_trial(trial: Trial, watch: Watch | None = None) -> TrialResult:
    """Run one trial alone and return how it went; an exception in training becomes its status.

    >>> from gradbench import Trial, run_trial
    >>> from gradbench.scenarios.parity import Parity
    >>> result = run_trial(Trial(scenario=Parity(d=5, weight=2), optimizer="adam:lr=0.01"))
    >>> result.status.value, result.final_score
    ('solved', 1.0)

    Raises SpecError where the optimizer's or the architecture's spec cannot be resolved.
    """
    _resolve(trial)
    result = TrialResult(trial.seed, Status.UNSOLVED)
    with isolated(trial):
        try:
            Training(trial, result).run(watch)
        except UnsupportedError as error:
            result.status, result.reason = Status.UNSUPPORTED, str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001
            result.status, result.reason = Status.CRASHED, one_line(error)
    return result


def time_trial(trial: Trial) -> TrialResult:
    """Take a trial's first steps alone, and return a result of which only the timing counts.

    The first step is a block of its own; there are no looks. Raises SpecError as `run_trial` does.
    """
    _resolve(trial)
    result = TrialResult(trial.seed, Status.UNSOLVED)
    with isolated(trial):
        try:
            training = Training(replace(trial, probes="none"), result).equip()
            reset_peak_memory(training.device)
            try:
                for block in range(TIMED + 1):
                    training.advance(min(1 + 8 * block, trial.budget))
            finally:
                training.keep_timing()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # it may come late in training
            result.status, result.reason = Status.CRASHED, one_line(error)
    return result


def _resolve(trial: Trial) -> None:
    """Resolve the names: a wrong spec is the caller's mistake, not the trial's end.

    And see what the optimizer needs, whatever type and seeds the trial will set.
    """
    if trial.optimizer is not None:
        _ = resolve(trial.optimizer).needs
    if trial.architecture is not None:
        architectures.resolve(trial.architecture)


def _alike(trials: Sequence[Trial]) -> list[list[int]]:
    """Return the places of trials that differ in seed and hyperparameters only."""
    kinds: list[Trial] = []
    found: list[list[int]] = []
    for place, trial in enumerate(trials):
        kind = replace(trial, seed=0, hyperparameters={}, probes="none", probe_budget=0)
        if kind in kinds:
            found[kinds.index(kind)].append(place)
        else:
            kinds.append(kind)
            found.append([place])
    return found


def _run_alike(
    chosen: Sequence[tuple[Trial, Watch]], stack: str, *, guard: bool
) -> list[TrialResult]:
    trial = chosen[0][0]
    _resolve(trial)
    sharing, most = _way(trial, stack)
    if sharing is Sharing.ALONE:
        return [run_trial(each, watch) for each, watch in chosen]
    results: list[TrialResult] = []
    modes = [stack, "eager"] if stack in FAST else ["eager"]
    for start in range(0, len(chosen), most):
        part = chosen[start : start + most]
        found = _run_part(part, modes, together=sharing is Sharing.TOGETHER, guard=guard)
        if found is None:
            results = [run_trial(each, watch) for each, watch in chosen]
            for result in results:
                result.fallback = UNEQUAL
            return results
        results += found
    return results


def _run_part(
    chosen: Sequence[tuple[Trial, Watch]], modes: Sequence[str], *, together: bool, guard: bool
) -> list[TrialResult] | None:
    """Train trials as one stack, in the first of these modes in which it goes well; or None."""
    why = ""
    for mode in modes:
        try:
            found = _run_stack(chosen, mode, together=together, guard=guard)
        except NotImplementedError as error:
            why = f"{mode} fell back: {error}"
            continue
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whose it is, shows alone
            why = f"{mode} fell back: {one_line(error)}"
            continue
        if found is not None:
            for result in found:
                result.fallback = why
            return found
        why = f"{mode} fell back: a trial had other numbers than apart"
    return None


def _way(trial: Trial, stack: str) -> tuple[Sharing, int]:
    """Return the way of trials like this one, and how many a stack may hold."""
    with isolated(trial):
        try:
            training = Training(trial, TrialResult(trial.seed, Status.UNSOLVED))
        except Exception:  # noqa: BLE001  # each trial will say so itself
            return Sharing.ALONE, 1
    return way(trial, training.network, stack), max(2, MOST_BYTES // trial_bytes(training))


def trial_bytes(training: Training) -> int:
    """Return about what a trial of a stack takes: weights four times over, and its data."""
    weights = sum(p.nbytes for p in training.parameters)
    held_out = sum(part.nbytes for part in training.held_out)
    chunk = held_out * CHUNK * training.trial.batch // len(training.held_out[0])
    return 4 * weights + held_out + chunk


def _run_stack(
    chosen: Sequence[tuple[Trial, Watch]], mode: str, *, together: bool, guard: bool
) -> list[TrialResult] | None:
    """Train trials as one stack; None where one of them, trained apart, comes to other numbers.

    Raises what is raised in a pass over all of them, and NotImplementedError where the mode cannot
    be had.
    """
    path = "stacked" if together else "stacked apart"
    path += f", {mode}" if mode in FAST else ""
    results = [TrialResult(trial.seed, Status.UNSOLVED, path=path) for trial, _ in chosen]
    with isolated(chosen[0][0]), one_thread():  # kernels cut their work by the number of threads
        trainings = [Training(trial, r) for (trial, _), r in zip(chosen, results, strict=True)]
        watches = {id(t): watch for t, (_, watch) in zip(trainings, chosen, strict=True)}
        if guard and not _agrees(trainings[0]):
            return None
        stack = Stack(_two(trainings), together=together, mode=mode)
        stack.run(watches)
        if guard and stack.kept is not None and not _holds(stack):
            return None
    return results


def _agrees(training: Training) -> bool:
    size = training.trial.batch
    batch = (training.held_out[0][:size], training.held_out[1][:size])
    return agrees(training.scenario, training.network, batch)


def _two(trainings: list[Training]) -> list[Training]:
    """Give a lone trial company: itself."""
    if len(trainings) > 1:
        return trainings
    trial = replace(trainings[0].trial, probes="none")
    return [*trainings, Training(trial, TrialResult(trial.seed, Status.UNSOLVED))]


def _holds(stack: Stack) -> bool:
    """Whether the stack's guarded trial has the numbers that it has beside itself only."""
    steps, row = stack.kept or (GUARD, torch.empty(0))
    trial = replace(stack.guarded.trial, probes="none", target_score=math.inf)
    result = TrialResult(trial.seed, Status.UNSOLVED)
    passes = stack.passes if stack.mode == "compile" else None
    apart = Stack(_two([Training(trial, result)]), together=False, passes=passes)
    if stack.mode == "graph":
        for training in apart.trainings:
            make_capturable(training.optimizer)
    apart.advance(steps)
    again = apart.row(apart.trainings[0])
    return bool(((again == row) | (again.isnan() & row.isnan())).all())
