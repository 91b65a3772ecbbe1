"""Runs trials, as stacks or one at a time, and returns their results.

One file: stacked, recorded and single trials fall back on each other.
"""

import gc
from collections.abc import Sequence
from dataclasses import replace

import torch

from gradbench.architectures import factory as architectures
from gradbench.optimizers.factory import resolve
from gradbench.results.record import Status, TrialResult
from gradbench.torch_state import accelerated, one_thread, random_state
from gradbench.training.batches import chunk
from gradbench.training.clock import reset_peak_memory
from gradbench.training.loop import Training
from gradbench.training.random_streams import isolated
from gradbench.training.recorded import UnrecordableError
from gradbench.training.stack.layers import Stackable
from gradbench.training.stack.loop import Stack
from gradbench.training.stack.policy import agrees, is_torchs, stacks
from gradbench.training.stack.shared_optimizer import UnstackableError
from gradbench.training.state import UNMOVED, TrialState, Watch, end_by_error, located
from gradbench.training.trial import Trial

MOST_BYTES = 2**28
"""Approximate memory limit of a stack on a CPU, in bytes."""

PARTS = 8
"""A stack may take one part in this many of an accelerator's total memory. Free memory is not
considered, so that the number of trials in a stack does not depend on other memory in use."""

MIN_ROWS = 2

TIMED = 16
"""Number of blocks of eight steps in a timing run, after the first step."""

BROKEN = {Status.CRASHED, Status.UNSUPPORTED}


def run(
    trials: Sequence[Trial], watches: Sequence[Watch] | None = None, *, stack: str = "auto"
) -> list[TrialResult]:
    """Run trials and return their results in order; a result does not depend on other trials.

    Trials of one case are stacked where that is faster (`stack="auto"`), wherever possible (`"on"`)
    or never (`"off"`); each result's `path` names its execution path. On an accelerator steps are
    recorded and replayed, except with `"off"` and with `"unrecorded"`, which stacks as by default.
    If a stack fails, its trials run again one at a time; if recording fails, they run again without
    it. `fallback` then holds the reason, unless the second run fails as well.

    Raises SpecError where an optimizer's or an architecture's spec cannot be resolved.
    """
    found: dict[int, TrialResult] = {}
    watched = list(watches or [lambda *_: None] * len(trials))
    for members in _alike(trials):
        chosen = [(trials[i], watched[i]) for i in members]
        found |= dict(zip(members, _run_alike(chosen, stack), strict=True))
    return [found[i] for i in range(len(trials))]


def run_trial(trial: Trial, watch: Watch | None = None) -> TrialResult:
    """Run one trial and return its result; an exception in training sets the result's status.

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
        except (Exception, SystemExit) as error:  # noqa: BLE001
            end_by_error(result, error)
    return result


def time_trial(trial: Trial, *, recorded: bool = False) -> TrialResult:
    """Time the first steps of one unstacked trial; only the timing of the result is meaningful.

    The first step is a block of its own; nothing is evaluated. With `recorded`, steps are recorded
    in the second block and replayed from then on. Raises SpecError as `run_trial`.
    """
    _resolve(trial)
    result = TrialResult(trial.seed, Status.UNSOLVED)
    with isolated(trial):
        try:
            training = Training(replace(trial, probes="none"), result, recorded=recorded)
            reset_peak_memory(training.device)
            try:
                for block in range(TIMED + 1):
                    training.advance(min(1 + 8 * block, trial.budget))
            finally:
                training.keep_timing()
                if training.recorded is not None:
                    training.recorded.release()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # it may come late in training
            end_by_error(result, error)
    return result


def _resolve(trial: Trial) -> None:
    """Resolve the trial's specs; raise SpecError where one is wrong.

    A wrong spec is the caller's mistake, not a status of the trial. The optimizer's requirements
    are detected here too, before the trial sets its dtype and seeds.
    """
    if trial.optimizer is not None:
        _ = resolve(trial.optimizer).requirements
    if trial.architecture is not None:
        architectures.resolve(trial.architecture)


def _alike(trials: Sequence[Trial]) -> list[list[int]]:
    """Return groups of indices of trials that differ in seed, hyperparameters and probes only."""
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


def _run_alike(chosen: Sequence[tuple[Trial, Watch]], stack: str) -> list[TrialResult]:
    trial = chosen[0][0]
    _resolve(trial)
    most = _most(trial, stack)
    recorded = accelerated(torch.device(trial.device)) and stack in {"auto", "on"}
    if not most:
        alone = _run_recorded if recorded else run_trial
        return [alone(each, watch) for each, watch in chosen]
    results: list[TrialResult] = []
    try:
        results = _run_parts(chosen, most, recorded=recorded)
        why = _trouble(trial, results)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whose it is, shows one at a time
        why = str(error) if isinstance(error, UnstackableError) else located(error)
    return _one_at_a_time(chosen, why) if why else results


def _trouble(trial: Trial, results: Sequence[TrialResult]) -> str:
    """Return why trials of a stack must run one at a time after all; empty where they need not."""
    for result in results:
        if result.status in BROKEN:
            return f"{result.reason} on a stack"
    moved = not any(UNMOVED in result.notes for result in results)
    if moved or trial.optimizer is None or is_torchs(resolve(trial.optimizer)):
        return ""
    return f"{UNMOVED} on a stack"


def _one_at_a_time(chosen: Sequence[tuple[Trial, Watch]], why: str) -> list[TrialResult]:
    """Run trials one after another, with `why` as `fallback` unless one of them fails as well."""
    results = [run_trial(each, watch) for each, watch in chosen]
    if not any(result.status in BROKEN or UNMOVED in result.notes for result in results):
        for result in results:
            result.fallback = f"trained one at a time: {why}"
    return results


def _run_parts(
    chosen: Sequence[tuple[Trial, Watch]], most: int, *, recorded: bool
) -> list[TrialResult]:
    """Train trials as stacks of at most `most`; halve the size where memory runs out."""
    results: list[TrialResult] = []
    fewer = min(most, len(chosen)) // 2
    try:
        for start in range(0, len(chosen), most):
            results += _run_part(chosen[start : start + most], recorded=recorded)
    except torch.OutOfMemoryError:
        if fewer < MIN_ROWS:
            raise
    else:
        return results
    gc.collect()  # outside of `except`, where the error's traceback holds the stack
    torch.get_device_module(chosen[0][0].device).empty_cache()
    results = _run_parts(chosen, fewer, recorded=recorded)
    for result in results:
        note = f"at most {fewer} trials at once: the device ran out of memory"
        result.fallback = result.fallback or note
    return results


def _run_part(chosen: Sequence[tuple[Trial, Watch]], *, recorded: bool) -> list[TrialResult]:
    """Train trials as one stack, recorded if requested; without recording where that fails."""
    if not recorded:
        return _run_stack(chosen)
    try:
        return _run_stack(chosen, recorded=True)
    except (UnstackableError, torch.OutOfMemoryError):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001
        why = _unrecorded(error)
    results = _run_stack(chosen)
    for result in results:
        result.fallback = why
    return results


def _run_recorded(trial: Trial, watch: Watch) -> TrialResult:
    """Run one trial with recorded steps; without recording where that fails."""
    result = TrialResult(trial.seed, Status.UNSOLVED, path="recorded")
    with isolated(trial):
        try:
            training = Training(trial, result, recorded=True)
            if training.recorded is None:  # a learner takes its own steps
                result.path = "alone"
            training.run(watch)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whose it is, shows without
            why = _unrecorded(error)
        else:
            return result
    result = run_trial(trial, watch)
    if result.status not in BROKEN:
        result.fallback = why
    return result


def _unrecorded(error: BaseException) -> str:
    """Return why steps were not recorded."""
    known = isinstance(error, NotImplementedError | UnrecordableError)
    return f"steps not recorded: {error if known else located(error)}"


def _most(trial: Trial, stack: str) -> int:
    """Return how many trials like this one a stack may hold; 0 where they run one at a time."""
    with isolated(trial):
        try:
            state = TrialState(trial, TrialResult(trial.seed, Status.UNSOLVED))
        except Exception:  # noqa: BLE001  # each trial will say so itself
            return 0
    fits = stacks(trial, state.network, stack)
    return max(MIN_ROWS, most_bytes(state.device) // trial_bytes(state)) if fits else 0


def most_bytes(device: torch.device) -> int:
    """Return a stack's approximate limit in bytes; on an accelerator, a share of its memory."""
    if device.type == "cpu":
        return MOST_BYTES
    properties = getattr(torch.get_device_module(device), "get_device_properties", lambda _: None)
    total: int = getattr(properties(device), "total_memory", MOST_BYTES * PARTS)
    return total // PARTS


def trial_bytes(state: TrialState) -> int:
    """Return the approximate bytes of one stacked trial: four times its weights, and its data."""
    weights = sum(p.nbytes for p in state.parameters)
    held_out = sum(part.nbytes for part in state.held_out)
    examples = chunk(state.trial, state.held_out[0][0].nbytes) * state.trial.batch
    drawn = held_out * examples // len(state.held_out[0])
    return 4 * weights + held_out + drawn


def _run_stack(
    chosen: Sequence[tuple[Trial, Watch]], *, recorded: bool = False
) -> list[TrialResult]:
    """Train trials as one stack.

    Raises UnstackableError where the trials must run one at a time, NotImplementedError where the
    steps cannot be recorded, and any exception of a pass over all rows.
    """
    path = "stacked, recorded" if recorded else "stacked"
    results = [TrialResult(trial.seed, Status.UNSOLVED, path=path) for trial, _ in chosen]
    with isolated(chosen[0][0]), one_thread():  # kernels cut their work by the number of threads
        states: list[TrialState] = []
        first: dict[int, TrialState] = {}  # of each seed
        for (trial, _), result in zip(chosen, results, strict=True):
            states.append(TrialState(trial, result, sibling=first.get(trial.seed)))
            first.setdefault(trial.seed, states[-1])
        watches = {id(state): watch for state, (_, watch) in zip(states, chosen, strict=True)}
        two = _two(states)
        if not _agrees(states[0]):
            raise UnstackableError("a module of the network says wrongly how a stack has it")
        device = states[0].device
        before = random_state(device)
        Stack(two, recorded=recorded).run(watches)
        if random_state(device) != before:
            raise UnstackableError("it draws random numbers")
    return results


def _agrees(state: TrialState) -> bool:
    """Return whether `Stackable` modules from outside gradbench compute correct gradients."""
    others = [m for m in state.network.modules() if isinstance(m, Stackable)]
    if all(type(module).__module__.startswith("gradbench.") for module in others):
        return True
    size = state.trial.batch
    batch = (state.held_out[0][:size], state.held_out[1][:size])
    return agrees(state.scenario, state.network, batch)


def _two(states: list[TrialState]) -> list[TrialState]:
    """Duplicate a single trial: stacks need two rows, because one row uses other kernels."""
    if len(states) > 1:
        return states
    trial = replace(states[0].trial, probes="none")
    duplicate = TrialResult(trial.seed, Status.UNSOLVED)
    return [*states, TrialState(trial, duplicate, sibling=states[0])]
