"""Schedule and measurement of the probes during a trial."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradbench.probes import registry
from gradbench.results.record import TrialResult
from gradbench.scenarios.base import Target
from gradbench.training.trial import Trial, probe_steps

LOOKS = 4
"""Most probe measurements in one trial; each may use an equal share of `probe_budget`."""


class ProbeSchedule:
    """Probe schedule of one trial; `active` if it has probes, parameters and a probe budget."""

    def __init__(self, trial: Trial, target: Target, network: nn.Module) -> None:
        self.trial, self.target = trial, target
        self.network = trial.scenario.probed(network)
        self.parameters = list(network.parameters())
        which = trial.probes if self.parameters and trial.probe_budget > 0 else "none"
        self.names = registry.chosen(which, trial.scenario.family)
        self.active = bool(self.names)
        self.points = probe_steps(trial.budget)
        self.before: list[Tensor] = []

    def keep(self) -> None:
        """Copy the parameters before a step, so that `measure` can compute its update."""
        self.before = [p.detach().clone() for p in self.parameters]

    def due(self, spent: int) -> bool:
        """Return whether a measurement is due; points passed by one step count as one."""
        due = self.active and bool(self.points) and spent >= self.points[0]
        self.points = [point for point in self.points if point > spent]
        return due

    def measure(self, result: TrialResult, spent: int) -> None:
        """Measure the probes on a random stream of their own; add the readings to the result."""
        begin = time.perf_counter()
        readings = registry.measure(
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
    """Return `after - before` of all parameters as one flat float64 tensor on the CPU."""
    pairs = zip(after, before, strict=True)
    return torch.cat([(a.detach().cpu().double() - b.cpu().double()).flatten() for a, b in pairs])
