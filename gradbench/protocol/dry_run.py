"""The output of --gb-dry-run: items, gradient evaluations, and an estimate of the time."""

from collections.abc import Callable, Sequence

from gradbench.optimizers.factory import resolve
from gradbench.protocol import tuning
from gradbench.protocol.item import Item, optimizer_of
from gradbench.protocol.run_item import refusal
from gradbench.protocol.trials import PROBE_SHARE
from gradbench.results.record import Status
from gradbench.torch_state import one_thread
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial

ESTIMATE = 40
"""Number of evaluations in the run that measures the seconds of one."""


def dry_run(items: Sequence[tuple[str, Item]], write: Callable[[str], None]) -> None:
    """Write a line per named item and the total; a few steps of each are run."""
    total_evaluations, total_seconds = 0, 0.0
    with one_thread():
        for name, item in items:
            evaluations, seconds, trouble = estimate(item)
            total_evaluations += evaluations
            total_seconds += seconds
            said = trouble or f"{evaluations:>12,} {_duration(seconds):>10}"
            write(f"{name:<48} {said}")
    write(
        f"{'at most; time of one trial after another here':<48} "
        f"{total_evaluations:>12,} {_duration(total_seconds):>10}"
    )


def estimate(item: Item) -> tuple[int, float, str | None]:
    """Return the most gradient evaluations that the item may take, the estimated seconds, and the
    reason where it cannot run, else None.

    The seconds are measured: a few steps are run here.
    """  # noqa: D205
    case, scenario = item.case, item.case.build()
    spec = optimizer_of(item, scenario)
    if reason := refusal(item, scenario, spec):
        return 0, 0.0, f"{Status.UNSUPPORTED}: {reason}"
    sweeps = bool(item.tuning > 0 and spec and resolve(spec).tunable and item.optimizer != "paper")
    points = item.tuning + (item.tuning > 1) if sweeps else 0
    again = tuning.FINALISTS * tuning.MORE_SEEDS if points > 1 else 0
    swept = points * len(tuning.seeds(item.preset)) + again
    evaluations = case.budget * (item.seeds + swept)
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


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
