"""The training loop of one trial: state, steps, evaluations."""

import copy
import math
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gradbench.architectures import factory as architectures
from gradbench.optimizers.factory import UnsupportedError, resolve
from gradbench.optimizers.requirements import Requirements
from gradbench.optimizers.stepping import call_step
from gradbench.results.record import Status, TrialResult, or_zero
from gradbench.scenarios.base import Batch, Learner, Scenario, Target
from gradbench.text import printable
from gradbench.torch_state import seed_globals
from gradbench.training.batches import Batches
from gradbench.training.clock import Clock, clock_for, peak_memory, reset_peak_memory
from gradbench.training.probing import Watching
from gradbench.training.random_streams import draws, isolated
from gradbench.training.recorded import RecordedSteps, UnrecordableError, trouble
from gradbench.training.trial import Trial, evaluation_steps

CONFIRMATIONS = 2
"""Looks in a row at or above the target that make a trial solved."""

STILL = "parameters did not move"

Step = Callable[[Tensor, Tensor], None]

Watch = Callable[[int, float], None]
"""Called at every look with the evaluations spent and the normalised score."""


class Measured(NamedTuple):
    """What an evaluation on the held-out set came to."""

    score: float
    loss: float
    finite: bool
    """Whether all parameters are."""


class Training:
    """One trial's state: its data, its network, its optimizer, and what they have cost."""

    def __init__(
        self,
        trial: Trial,
        result: TrialResult,
        *,
        beside: "Training | None" = None,
        recorded: bool = False,
    ) -> None:
        """Draw the trial's data and network.

        `beside` is a training of the same seed that has not begun: its data are this one's, too,
        and its network is copied.
        With `recorded` its steps are recorded and replayed by the accelerator; `build_optimizer`
        raises UnrecordableError or NotImplementedError where they cannot be.
        """
        self.trial, self.result, self.recorded = trial, result, recorded
        self.scenario: Scenario = trial.scenario
        self.device = torch.device(trial.device)
        self.network: nn.Module
        if beside is None:
            self.target, self.held_out, self.batches = self._draw()
            self.network = self._network().to(self.device)
        else:
            self.target, self.held_out = beside.target, beside.held_out
            self.batches = beside.batches
            self.network = copy.deepcopy(beside.network)
            result.notes += beside.result.notes
        result.target = self.scenario.describe(self.target)
        self.parameters = list(self.network.parameters())
        self.start = [p.detach().clone() for p in self.parameters]

        self.spent = 0
        self.schedules: list[LRScheduler] = []
        self.release: Callable[[], None] = lambda: None  # of what is recorded
        self.requirements = Requirements()
        self.clock: Clock = clock_for(self.device)
        self.reached = 0  # looks in a row at or above the target
        self.watching = Watching(trial, self.target, self.network)

    def _draw(self) -> tuple[Target, Batch, Batches]:
        """Draw the target and the held-out examples, and prepare the training data."""
        trial = self.trial
        target = self.scenario.draw_target(draws(trial, "target"))
        inputs, labels = self.scenario.held_out(target, draws(trial, "evaluation"))
        place = draws(trial, "data", trial.device).device
        batches = Batches(trial, {k: v.to(place) for k, v in target.items()})
        return target, (inputs.to(self.device), labels.to(self.device)), batches

    def build_optimizer(self) -> Self:
        """Build the optimizer on the network's parameters as they are."""
        seed_globals(self.trial.stream("optimizer"))
        self.step, self.requirements = self._prepare()
        return self

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

    def _prepare(self) -> tuple[Step, Requirements]:
        """Return what trains the network on a batch, and what that needs."""
        if isinstance(self.network, Learner):
            if self.trial.optimizer is not None:
                raise UnsupportedError(f"{self.scenario.name} learns by itself here")
            return self._learn, Requirements()
        if self.trial.optimizer is None:
            raise UnsupportedError(f"{self.scenario.name} needs an optimizer here")
        factory = resolve(self.trial.optimizer)
        trial, requirements = self.trial, factory.requirements
        self.optimizer: Optimizer = factory.build(
            self.network,
            trial.hyperparameters,
            steps=trial.budget,
            examples=trial.budget * trial.batch,
        )
        step: Step = self._step_with_closure if requirements.closure else self._step
        if requirements.fused:
            step = self._fused_step
        if self.recorded:
            step = self._recorded_steps(scheduled=bool(factory.schedules))
        if not factory.schedules:
            return step, requirements
        if any("lr" not in group for group in self.optimizer.param_groups):
            raise UnsupportedError("it has no learning rate that a schedule could change")
        self.schedules = factory.schedules.put(self.optimizer, lambda: self.spent, trial.budget)
        return lambda inputs, labels: self._scheduled(step, inputs, labels), requirements

    def _recorded_steps(self, *, scheduled: bool) -> Step:
        """Return steps that are recorded and replayed."""
        needs = resolve(self.trial.optimizer or "").requirements
        if why := trouble(self.network, self.optimizer, needs):
            raise UnrecordableError(why)
        take = RecordedSteps(self.network, self.optimizer, self.scenario.loss, scheduled=scheduled)

        def step(inputs: Tensor, labels: Tensor) -> None:
            take(inputs, labels)
            self.result.gradient_evaluations += 1
            self.spent += 1

        return step

    def _scheduled(self, step: Step, inputs: Tensor, labels: Tensor) -> None:
        step(inputs, labels)
        for schedule in self.schedules:
            schedule.step()

    def run(self, watch: Watch | None) -> None:
        """Train up to the budget, looking on the way."""
        self.build_optimizer()
        reset_peak_memory(self.device)
        try:
            for look in evaluation_steps(self.trial.budget):
                if 0 < look <= self.spent:  # a step with several evaluations looked beyond it
                    continue
                self.advance(look)
                if self.look(watch):
                    break
        finally:
            self.keep_timing()
            self.release()
        self.finish()

    def keep_timing(self) -> None:
        """Put into the result what clock and memory have measured."""
        result = self.result
        result.clock, result.blocks = self.clock.name, list(self.clock.blocks())
        result.seconds = sum(seconds for seconds, _ in result.blocks)
        result.timed = self.clock.said()
        self._keep_peak()

    def look(self, watch: Watch | None, measured: Measured | None = None) -> bool:
        """Evaluate, show, and probe where that is due; return whether the trial has ended.

        `measured` is what an evaluation came to, where that is known already.
        """
        score = self._settle(measured or self._evaluate())
        if watch is not None:
            watch(self.spent, score)
        unsolved = self.result.status is Status.UNSOLVED
        ended = not unsolved or self.spent >= self.trial.budget
        if self.watching.due(self.spent) or (ended and self.watching.active):
            self._probe()
        return ended

    def finish(self) -> None:
        """Measure what the trained network is further asked for."""
        self.result.details = self.scenario.details(self.network, self.held_out)
        if self.result.status is Status.SOLVED:
            self.result.weights = [p.detach().clone().cpu() for p in self.parameters]
        if self.spent and self.parameters and not self._moved():
            self.result.notes.append(STILL)

    def _moved(self) -> bool:
        """Whether any parameter is another than at the start."""
        pairs = zip(self.parameters, self.start, strict=True)
        return bool(torch.stack([(now != before).any() for now, before in pairs]).any())

    def advance(self, look: int) -> None:
        """Train until that many evaluations are spent; only the steps are on the clock."""
        while self.spent < look:
            count = 1 if self.requirements.closure else look - self.spent
            if self.watching.active:  # stop once more before the last step, to see what it changes
                count = max(1, count - 1)
                if (
                    not self.requirements.modes
                ):  # between two modes parameters differ by more than a step
                    self.watching.keep()
            batches = self.batches.take(count)
            self.mode("train")
            self.clock.start()
            for inputs, labels in batches:
                self.step(inputs, labels)
            self.clock.stop(len(batches))

    def _step(self, inputs: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        loss = self.scenario.loss(self.network(inputs), labels).mean()
        if self.requirements.create_graph:
            self._differentiable(loss)
        else:
            loss.backward()
        self.result.gradient_evaluations += 1
        self.optimizer.step()
        self.spent += 1
        if self.requirements.create_graph:  # its graph goes with it
            self.optimizer.zero_grad()

    def _differentiable(self, loss: Tensor) -> None:
        """As `backward(create_graph=True)`, without torch's warning of the cycle that it leaves."""
        used = [p for p in self.parameters if p.requires_grad]
        grads = torch.autograd.grad(loss, used, create_graph=True, allow_unused=True)
        for parameter, grad in zip(used, grads, strict=True):
            parameter.grad = grad

    def _fused_step(self, inputs: Tensor, labels: Tensor) -> None:
        """Backward pass during which the optimizer updates the parameters."""
        loss = self.scenario.loss(self.network(inputs), labels).mean()
        self.optimizer.fused_backward(loss, self.optimizer.param_groups[0]["lr"])  # type: ignore[attr-defined]
        self.result.gradient_evaluations += 1
        self.spent += 1

    def mode(self, name: str) -> None:
        """Tell an optimizer that keeps other parameters for training than for evaluation."""
        if self.requirements.modes and (
            self.spent > 0 or name == "train"
        ):  # else nothing to leave yet
            getattr(self.optimizer, name)()

    def _learn(self, inputs: Tensor, labels: Tensor) -> None:
        """Train a learner on a batch, which counts as one forward evaluation."""
        self.network.learn(inputs, labels)  # type: ignore[operator]  # a Learner, by _prepare
        self.result.forward_evaluations += 1
        self.spent += 1

    def _step_with_closure(self, inputs: Tensor, labels: Tensor) -> None:
        """Take a step that asks for the loss itself, as often as it likes, on this batch.

        A call with gradients switched off counts as a forward evaluation. Either kind spends the
        budget, and so does a step that asks for nothing: every step costs at least one.
        """
        result = self.result
        before = result.gradient_evaluations + result.forward_evaluations

        def closure() -> Tensor:
            gradients = torch.is_grad_enabled()
            if gradients:
                self.optimizer.zero_grad()
            loss = self.scenario.loss(self.network(inputs), labels).mean()
            if gradients:
                if not self.requirements.forward_closure:
                    loss.backward()
                result.gradient_evaluations += 1
            else:
                result.forward_evaluations += 1
            return loss

        if self.requirements.gradients_first:
            closure()
        call_step(self.optimizer, self.requirements, closure)
        called = result.gradient_evaluations + result.forward_evaluations - before
        self.spent += max(1, called)

    def _evaluate(self) -> Measured:
        """Evaluate on the held-out set."""
        self.clock.blocks()  # on an accelerator, waits for the steps so far
        self.mode("eval")
        self.network.eval()
        score, loss = self.scenario.evaluate(self.network, self.held_out)
        self.network.train()
        finite = [p.isfinite().all() for p in self.parameters]
        return Measured(score, loss, not finite or bool(torch.stack(finite).all()))

    def _settle(self, measured: Measured) -> float:
        """Settle the status by what an evaluation came to; return its score."""
        blocks = self.clock.blocks()
        result, loss = self.result, measured.loss
        finite = measured.finite and math.isfinite(loss)
        score = measured.score if finite else math.nan  # what is no number has learned nothing
        result.curve.append((self.spent, score, loss))
        result.final_score = score
        if not finite:
            result.status = Status.DIVERGED
            result.reason = f"not finite after {self.spent} evaluations"
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
            self.watching.look(self.result, self.spent)
        reset_peak_memory(self.device)  # what the probes took is not the training's


def one_line(error: BaseException) -> str:
    """Return the exception's type, the first line of its message, and where it was raised."""
    message = printable((str(error).splitlines() or [""])[0][:300])
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {message}{where}"
