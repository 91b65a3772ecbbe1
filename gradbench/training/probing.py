"""When probes are measured during a trial, and where their readings go."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradbench.probes import registry
from gradbench.results.record import TrialResult
from gradbench.scenarios.base import Target
from gradbench.training.trial import Trial, probe_steps

LOOKS = 4
"""Most looks of the probes in one trial; they share its budget for probes."""


class ProbeSchedule:
    """One trial under the probes; `active` where there is anything to look with and at."""

    def __init__(self, trial: Trial, target: Target, network: nn.Module) -> None:
        self.trial, self.target, self.network = trial, target, network
        self.parameters = list(network.parameters())
        which = trial.probes if self.parameters and trial.probe_budget > 0 else "none"
        self.names = registry.chosen(which, trial.scenario.family)
        self.active = bool(self.names)
        self.points = probe_steps(trial.budget)
        self.before: list[Tensor] = []

    def keep(self) -> None:
        """Keep the parameters as they are before a step, to see what it changes."""
        self.before = [p.detach().clone() for p in self.parameters]

    def due(self, spent: int) -> bool:
        """Whether a look is due; several that one step passed are one."""
        due = self.active and bool(self.points) and spent >= self.points[0]
        self.points = [point for point in self.points if point > spent]
        return due

    def measure(self, result: TrialResult, spent: int) -> None:
        """Look, on streams of the probes' own and on a copy; isolate the caller's random state."""
        begin = time.perf_counter()
        readings = registry.look(
            self.trial.scenario,
            self.target,
            self.network,
            names=self.names,
            examples=self.trial.batch * self.trial.probe_budget // LOOKS,
            seed=self.trial.stream("probes"),
            update=change(self.before, self.parameters) if self.before else None,
        )
        result.informativeness += [reading.plain(spent) for reading in readings]
        result.probe_seconds += time.perf_counter() - begin


def change(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """Return what parameters changed by, flat, in float64 on the CPU."""
    pairs = zip(after, before, strict=True)
    return torch.cat([(a.detach().cpu().double() - b.cpu().double()).flatten() for a, b in pairs])
