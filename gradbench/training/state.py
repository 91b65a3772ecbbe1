"""The state of one trial: problem, network, progress and result."""

import copy
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from gradbench.architectures import factory as architectures
from gradbench.optimizers.factory import UnsupportedError
from gradbench.results.record import Status, TrialResult, or_zero
from gradbench.scenarios.base import Batch, Scenario, Target
from gradbench.text import error_line
from gradbench.training.batches import Batches, chunk
from gradbench.training.clock import Clock, clock_for, peak_memory, reset_peak_memory
from gradbench.training.probing import ProbeSchedule
from gradbench.training.random_streams import draws, isolated
from gradbench.training.trial import Trial

CONFIRMATIONS = 2
"""Consecutive evaluations at or above the target that make a trial solved."""

UNMOVED = "parameters did not move"

Watch = Callable[[int, float], None]
"""Called at every evaluation with the evaluations spent and the normalised score."""


class Measured(NamedTuple):
    """Score and loss on the held-out set."""

    score: float
    loss: float
    finite: bool
    """Whether all parameters are finite."""


class TrialState:
    """One trial's data, network, progress and result; subclasses and stacks train it.

    `sibling` is a state of the same seed that has not been trained: data are shared with it, and
    its network is copied.

    Raises UnsupportedError where the trial's architecture does not fit its scenario.
    """

    def __init__(
        self, trial: Trial, result: TrialResult, *, sibling: "TrialState | None" = None
    ) -> None:
        self.trial, self.result = trial, result
        self.scenario: Scenario = trial.scenario
        self.device = torch.device(trial.device)
        self.network: nn.Module
        if sibling is None:
            self.target, self.held_out, self.batches = self._problem()
            self.network = self._network().to(self.device)
        else:
            self.target, self.held_out = sibling.target, sibling.held_out
            self.batches = sibling.batches
            self.network = copy.deepcopy(sibling.network)
            result.notes += sibling.result.notes
        result.target = self.scenario.describe(self.target)
        self.parameters = list(self.network.parameters())
        self.start = [p.detach().clone() for p in self.parameters]
        self.spent = 0
        self.clock: Clock = clock_for(self.device)
        self.reached = 0  # consecutive evaluations at or above the target
        self.probing = ProbeSchedule(trial, self.target, self.network)

    def _problem(self) -> tuple[Target, Batch, Batches]:
        """Draw the target and the held-out examples, and prepare the training data."""
        trial = self.trial
        target = self.scenario.draw_target(draws(trial, "target"))
        inputs, labels = self.scenario.held_out(target, draws(trial, "evaluation"))
        place = draws(trial, "data", trial.device).device
        at_once = chunk(trial, inputs[0].nbytes)
        batches = Batches(trial, {k: v.to(place) for k, v in target.items()}, at_once)
        return target, (inputs.to(self.device), labels.to(self.device)), batches

    def _network(self) -> nn.Module:
        trial = self.trial
        start = draws(trial, "initialisation")
        if trial.architecture is None:
            return self.scenario.network(start)
        torch.manual_seed(trial.stream("initialisation"))
        self.result.notes.append("network initialised by torch, seeded")
        try:
            return architectures.build(self.scenario, trial.architecture, start)
        except architectures.FixedError as error:
            raise UnsupportedError(str(error)) from error

    def mode(self, name: str) -> None:
        """Switch the optimizer's mode to `train` or `eval`; this base class has no optimizer."""

    def evaluate(self, watch: Watch | None, measured: Measured | None = None) -> bool:
        """Evaluate, report, and probe where that is due; return whether the trial has ended.

        `measured` is the result of the evaluation if it was computed already, else None.
        """
        score = self._update_status(measured or self._measure())
        if watch is not None:
            watch(self.spent, score)
        unsolved = self.result.status is Status.UNSOLVED
        ended = not unsolved or self.spent >= self.trial.budget
        if self.probing.due(self.spent) or (ended and self.probing.active):
            self._probe()
        return ended

    def finish(self) -> None:
        """Add the scenario's further measures and the weights of a solved trial to the result."""
        self.result.details = self.scenario.details(self.network, self.held_out)
        if self.result.status is Status.SOLVED:
            self.result.weights = [p.detach().clone().cpu() for p in self.parameters]
        if self.spent and self.parameters and not self._moved():
            self.result.notes.append(UNMOVED)

    def _moved(self) -> bool:
        """Whether any parameter differs from its start."""
        pairs = zip(self.parameters, self.start, strict=True)
        return bool(torch.stack([(now != before).any() for now, before in pairs]).any())

    def _measure(self) -> Measured:
        """Evaluate on the held-out set."""
        self.clock.blocks()  # on an accelerator, waits for the steps so far
        self.mode("eval")
        self.network.eval()
        score, loss = self.scenario.evaluate(self.network, self.held_out)
        self.network.train()
        finite = [p.isfinite().all() for p in self.parameters]
        return Measured(score, loss, not finite or bool(torch.stack(finite).all()))

    def _update_status(self, measured: Measured) -> float:
        """Update curve and status by an evaluation; return its score, NaN if not finite."""
        blocks = self.clock.blocks()
        result, loss = self.result, measured.loss
        finite = measured.finite and math.isfinite(loss)
        score = measured.score if finite else math.nan
        result.curve.append((self.spent, score, loss))
        result.final_score = score
        if not finite:
            result.fail(Status.DIVERGED, f"not finite after {self.spent} evaluations")
            return score
        self.reached = self.reached + 1 if score >= self.trial.target_score else 0
        if self.reached == 1 and self.spent <= self.trial.budget:
            result.evaluations_to_target = self.spent
            result.seconds_to_target = sum(seconds for seconds, _ in blocks) if blocks else None
        if self.reached == CONFIRMATIONS and result.evaluations_to_target is not None:
            result.status = Status.SOLVED
        elif self.reached == 0 or self.spent >= self.trial.budget:
            result.evaluations_to_target = result.seconds_to_target = None
        return score

    def _keep_peak(self) -> None:
        peak = peak_memory(self.device)
        if peak is not None:
            self.result.peak_memory_bytes = max(peak, int(or_zero(self.result.peak_memory_bytes)))

    def _probe(self) -> None:
        """Measure the probes, outside the clock and the training's random state."""
        self._keep_peak()
        with isolated(self.trial):
            self.probing.measure(self.result, self.spent)
        reset_peak_memory(self.device)  # the probes' memory is not the training's


def end_by_error(result: TrialResult, error: BaseException) -> None:
    """Set the status and the reason of a trial that an exception has ended."""
    if isinstance(error, UnsupportedError):
        result.fail(Status.UNSUPPORTED, str(error))
    else:
        result.fail(Status.CRASHED, located(error))


def located(error: BaseException) -> str:
    """Return the exception's type, the first line of its message, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{error_line(error)}{where}"
