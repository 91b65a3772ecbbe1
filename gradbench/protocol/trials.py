"""Runs the trials of one item, and times its step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gradbench.protocol.item import Item
from gradbench.results.record import TrialResult
from gradbench.scenarios.base import Scenario
from gradbench.training.runner import run, time_trial
from gradbench.training.trial import Trial

ProgressCallback = Callable[[str], None]
"""Called with a short description of the current activity."""

Planned = tuple[dict[str, float], int]
"""Hyperparameters and a seed."""

PROBE_SHARE = 10
"""Gradient evaluations of the evaluation trials for each one that the probes may use."""


@dataclass
class TrialRunner:
    """Runs trials of an item, all along the same execution path.

    `stack` is the mode of the next call (see `runner.run`), `notes` holds reasons for fallbacks.
    """

    item: Item
    scenario: Scenario
    spec: str | None
    progress: ProgressCallback
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stack = self.item.stack

    def run(
        self, planned: Sequence[Planned], description: str, probes: str = "none"
    ) -> list[TrialResult]:
        """Run trials of these hyperparameters and seeds, and return their results.

        The first trial is probed. Once a trial has run unstacked and unrecorded, all later ones
        do, so that a record has one path.
        """
        budget = self.item.case.budget
        trials = [
            self.trial(hyperparameters, seed, "none" if number else probes)
            for number, (hyperparameters, seed) in enumerate(planned)
        ]
        best = -math.inf

        def watch(spent: int, score: float) -> None:
            nonlocal best
            best = max(best, score)
            self.progress(f"{description}, {spent}/{budget} evaluations, best score {best:.2f}")

        results = run(trials, [watch] * len(trials), stack=self.stack)
        if any(result.path == "alone" for result in results):
            self.stack = "off"
        elif any(result.path == "stacked" and result.fallback for result in results):
            self.stack = "unrecorded"
        for fallback in dict.fromkeys(result.fallback for result in results):
            if fallback and fallback not in self.notes:
                self.notes.append(fallback)
        return results

    def trial(self, hyperparameters: dict[str, float], seed: int, probes: str = "none") -> Trial:
        """Return one trial of the item."""
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
        """Run the evaluation seeds, and return their results."""
        rates = "".join(f", {name} {value:g}" for name, value in hyperparameters.items())
        planned = [(hyperparameters, seed) for seed in seeds]
        return self.run(planned, f"{len(seeds)} seeds{rates}", self.item.probes)

    def time(self, hyperparameters: dict[str, float]) -> TrialResult:
        """Run the first steps of one unstacked trial, and return a result with their times."""
        return time_trial(self.trial(hyperparameters, 0))

    def time_recorded(self, hyperparameters: dict[str, float]) -> TrialResult:
        """Do as `time`, with recorded steps."""
        return time_trial(self.trial(hyperparameters, 0), recorded=True)
