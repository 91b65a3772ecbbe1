"""Compares the step times of two optimizer specs, timed by turns in one process.

On a shared machine, times recorded elsewhere or earlier are not comparable. So the older version
runs again: on one case of each scenario, short trainings of the two versions alternate.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradbench.analysis.statistics import geometric_mean, sign_flip
from gradbench.protocol.case import Case
from gradbench.results.record import Status
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial

PAIRS = 9
STEPS = 120
LIMIT = 1.1
"""Ratio to the older version's step time above which a step counts as slower."""

LEVEL = 0.05


@dataclass(frozen=True)
class StepTime:
    """The newer step's time over the older one's.

    `cases` holds each case's median ratio over the pairs, `ratio` and `interval` their geometric
    mean and its 95 % t interval (over the pairs, where there is one case); `p` is one-sided, for a
    ratio above LIMIT.
    """

    cases: dict[str, float]
    ratio: float
    interval: tuple[float, float]
    p: float

    @property
    def slower(self) -> bool:
        """Whether a step got slower by more than LIMIT, beyond what the spread explains."""
        return self.p <= LEVEL


def step_time(cases: Sequence[Case], new: str, old: str, **settings: Any) -> StepTime:  # noqa: ANN401
    """Time two optimizers in turn on the first case of each scenario.

    `settings` are the trials' preset, device and dtype. Raises ValueError where there is no case
    on which both can run.
    """
    pairs: dict[str, list[float]] = {}
    for case in _one_each(cases):
        found = []
        for seed in range(PAIRS + 1):
            times = [
                _seconds(case, spec, seed, settings)
                for spec in ((new, old) if seed % 2 else (old, new))
            ]
            if None in times:
                break
            first, second = times if seed % 2 else reversed(times)
            found.append(math.log(first / second))  # type: ignore[operator]
        else:
            pairs[case.id] = found[1:]  # the first pair warms up
    if not pairs:
        raise ValueError(f"{new} and {old} can be timed on none of the cases together")
    if len(pairs) == 1:  # one case: the spread over its pairs
        ratio, low, high = geometric_mean(next(iter(pairs.values())))
    else:
        ratio, low, high = geometric_mean([statistics.median(found) for found in pairs.values()])
    middles = {case: statistics.median(found) for case, found in pairs.items()}
    above = [log - math.log(LIMIT) for found in pairs.values() for log in found]
    return StepTime(
        {case: math.exp(log) for case, log in middles.items()},
        ratio,
        (low, high),
        sign_flip(above, greater=True),
    )


def _one_each(cases: Sequence[Case]) -> list[Case]:
    chosen: dict[str, Case] = {}
    for case in cases:
        if case.takes_optimizer:
            chosen.setdefault(case.scenario, case)
    return list(chosen.values())


def _seconds(case: Case, spec: str, seed: int, settings: dict[str, Any]) -> float | None:
    """Return the seconds of one training step; None where it cannot run."""
    trial = Trial(
        scenario=case.build(),
        optimizer=spec,
        seed=seed,
        budget=STEPS,
        batch=case.batch,
        target_score=math.inf,
        **settings,
    )
    result = run_trial(trial)
    steps = sum(count for _, count in result.blocks)
    if result.status in {Status.CRASHED, Status.UNSUPPORTED} or not steps:
        return None
    return sum(seconds for seconds, _ in result.blocks) / steps
