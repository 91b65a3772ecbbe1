"""The output of --gb-dry-run: items, gradient evaluations, and an estimate of the time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from gradbench.optimizers.factory import resolve
from gradbench.protocol import tuning
from gradbench.protocol.item import Item, optimizer_of
from gradbench.protocol.kept_costs import Kept, Name
from gradbench.protocol.run_item import refusal
from gradbench.protocol.trials import PROBE_SHARE
from gradbench.results.record import Status, entry
from gradbench.scenarios.base import Scenario
from gradbench.torch_state import one_thread
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial

ESTIMATE = 40
"""Number of evaluations in the run that measures the seconds of one."""


def dry_run(
    items: Sequence[tuple[str, Item]],
    write: Callable[[str], None],
    kept: Mapping[Name, Kept] = MappingProxyType({}),
) -> None:
    """Write a line per named item and the total.

    The seconds are those that `kept` has of it from an earlier run; else a few steps are run.
    """
    total_evaluations, total_seconds, known = 0, 0.0, 0
    with one_thread():
        for name, item in items:
            was = kept.get((item.case.id, entry(item.optimizer, item.architecture)))
            evaluations, seconds, trouble = estimate(item, was)
            known += was is not None
            total_evaluations += evaluations
            total_seconds += seconds
            said = trouble or f"{evaluations:>12,} {_duration(seconds):>10}"
            write(f"{name:<48} {said}")
    write(
        f"{'at most; time of one case after another here':<48} "
        f"{total_evaluations:>12,} {_duration(total_seconds):>10}"
    )
    if known:
        write(f"the time of {known} of {len(items)} is what it took in earlier runs")


def estimate(item: Item, kept: Kept | None = None) -> tuple[int, float, str | None]:
    """Return the most gradient evaluations that the item may take, the estimated seconds, and the
    reason where it cannot run, else None.

    The seconds are computed from an earlier run's where there is one; else a few steps are run
    here.
    """  # noqa: D205
    scenario = item.case.build()
    spec = optimizer_of(item, scenario)
    if reason := refusal(item, scenario, spec):
        return 0, 0.0, f"{Status.UNSUPPORTED}: {reason}"
    sweeps = bool(spec and resolve(spec).tunable and item.optimizer != "paper")
    evaluations = _most(item, sweeps=sweeps)
    if kept is not None:
        then = _most(replace(item, seeds=kept.seeds, tuning=kept.tuning), sweeps=sweeps)
        return evaluations, kept.seconds * evaluations / then, None
    each, trouble = _measured(item, scenario, spec)
    return evaluations, evaluations * each, trouble


def _most(item: Item, *, sweeps: bool) -> int:
    """Return the most gradient evaluations of an item: sweep, seeds and probes."""
    case = item.case
    points = item.tuning + (item.tuning > 1) if sweeps and item.tuning > 0 else 0
    again = tuning.FINALISTS * tuning.MORE_SEEDS if points > 1 else 0
    swept = points * len(tuning.seeds(item.preset)) + again
    probes = item.probes != "none" and case.takes_optimizer
    return case.budget * (item.seeds + swept) + probes * (case.budget * item.seeds // PROBE_SHARE)


def _measured(item: Item, scenario: Scenario, spec: str | None) -> tuple[float, str | None]:
    """Return the seconds of one evaluation, and why there are none."""
    case = item.case
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
    return seconds / max(1, spent), f"{result.status}: {result.reason}" if broken else None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
