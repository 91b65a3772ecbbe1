"""Training loop of a single trial, which is not part of a stack."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gradbench.optimizers.factory import UnsupportedError, resolve
from gradbench.optimizers.requirements import Requirements
from gradbench.optimizers.stepping import backward_with_graph, call_step
from gradbench.results.record import TrialResult
from gradbench.scenarios.base import Learner
from gradbench.torch_state import seed_globals
from gradbench.training.clock import reset_peak_memory
from gradbench.training.recorded import RecordedSteps, UnrecordableError, trouble
from gradbench.training.state import TrialState, Watch
from gradbench.training.trial import Trial, evaluation_steps

Step = Callable[[Tensor, Tensor], None]
"""Takes a step on a batch of inputs and labels."""


class Training(TrialState):
    """Trains one trial with an optimizer built on the network's own parameters.

    With `recorded` the accelerator records and replays its steps.

    Raises UnsupportedError where the optimizer refuses the network, and with `recorded`
    UnrecordableError or NotImplementedError where its steps cannot be recorded.
    """

    def __init__(self, trial: Trial, result: TrialResult, *, recorded: bool = False) -> None:
        super().__init__(trial, result)
        self.recorded: RecordedSteps | None = None
        self.schedules: list[LRScheduler] = []
        self.requirements = Requirements()
        self.step = self._prepare(recorded=recorded)

    def _prepare(self, *, recorded: bool) -> Step:
        """Build the optimizer, and return the step function that meets its requirements."""
        trial = self.trial
        seed_globals(trial.stream("optimizer"))
        if isinstance(self.network, Learner):
            if trial.optimizer is not None:
                raise UnsupportedError(f"{self.scenario.name} takes no optimizer here")
            return self._learn
        if trial.optimizer is None:
            raise UnsupportedError(f"{self.scenario.name} needs an optimizer here")
        factory = resolve(trial.optimizer)
        self.requirements = factory.requirements
        examples = trial.budget * trial.batch
        self.optimizer: Optimizer = factory.build(
            self.network, trial.hyperparameters, steps=trial.budget, examples=examples
        )
        if factory.schedules and any("lr" not in g for g in self.optimizer.param_groups):
            raise UnsupportedError("it has no learning rate that a schedule could change")
        step = self._kind_of_step(recorded=recorded, scheduled=bool(factory.schedules))
        if not factory.schedules:
            return step
        self.schedules = factory.schedules.put(self.optimizer, lambda: self.spent, trial.budget)
        return lambda inputs, labels: self._scheduled(step, inputs, labels)

    def _kind_of_step(self, *, recorded: bool, scheduled: bool) -> Step:
        if recorded:
            if why := trouble(self.network, self.optimizer, self.requirements):
                raise UnrecordableError(why)
            self.recorded = RecordedSteps(
                self.network, self.optimizer, self.scenario.loss, scheduled=scheduled
            )
            return self._recorded_step
        if self.requirements.fused:
            return self._fused_step
        return self._step_with_closure if self.requirements.closure else self._step

    def run(self, watch: Watch | None) -> None:
        """Train up to the budget, with evaluations on the way."""
        reset_peak_memory(self.device)
        try:
            for due in evaluation_steps(self.trial.budget):
                if 0 < due <= self.spent:  # a step of several evaluations has passed it
                    continue
                self.advance(due)
                if self.evaluate(watch):
                    break
        finally:
            self.keep_timing()
            if self.recorded is not None:
                self.recorded.release()
        self.finish()

    def keep_timing(self) -> None:
        """Write the clock's times and the peak memory to the result."""
        result = self.result
        result.clock, result.blocks = self.clock.name, list(self.clock.blocks())
        result.seconds = sum(seconds for seconds, _ in result.blocks)
        result.timed = self.clock.extra_timing()
        self._keep_peak()

    def advance(self, until: int) -> None:
        """Train until `until` evaluations are spent; the clock runs during the steps only."""
        while self.spent < until:
            count = 1 if self.requirements.closure else until - self.spent
            if self.probing.active:  # stop before the last step: probes measure its change
                count = max(1, count - 1)
                if not self.requirements.modes:  # a switch of mode changes parameters too
                    self.probing.keep()
            batches = self.batches.take(count)
            self.mode("train")
            self.clock.start()
            for inputs, labels in batches:
                self.step(inputs, labels)
            self.clock.stop(len(batches))

    def mode(self, name: str) -> None:
        """Call the optimizer's `train` or `eval` if it has modes, but no `eval` before a step."""
        if self.requirements.modes and (self.spent > 0 or name == "train"):
            getattr(self.optimizer, name)()

    def _scheduled(self, step: Step, inputs: Tensor, labels: Tensor) -> None:
        step(inputs, labels)
        for schedule in self.schedules:
            schedule.step()

    def _recorded_step(self, inputs: Tensor, labels: Tensor) -> None:
        self.recorded(inputs, labels)  # type: ignore[misc]  # it is there, by _kind_of_step
        self.result.gradient_evaluations += 1
        self.spent += 1

    def _step(self, inputs: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        loss = self.scenario.loss(self.network(inputs), labels).mean()
        if self.requirements.create_graph:
            backward_with_graph(loss)
        else:
            loss.backward()
        self.result.gradient_evaluations += 1
        self.optimizer.step()
        self.spent += 1
        if self.requirements.create_graph:  # frees the graph
            self.optimizer.zero_grad()

    def _fused_step(self, inputs: Tensor, labels: Tensor) -> None:
        """Run a backward pass during which the optimizer updates the parameters."""
        loss = self.scenario.loss(self.network(inputs), labels).mean()
        self.optimizer.fused_backward(loss, self.optimizer.param_groups[0]["lr"])  # type: ignore[attr-defined]
        self.result.gradient_evaluations += 1
        self.spent += 1

    def _learn(self, inputs: Tensor, labels: Tensor) -> None:
        """Train a learner on a batch, which counts as one forward evaluation."""
        self.network.learn(inputs, labels)  # type: ignore[operator]  # a Learner, by _prepare
        self.result.forward_evaluations += 1
        self.spent += 1

    def _step_with_closure(self, inputs: Tensor, labels: Tensor) -> None:
        """Take a step with a closure, which the optimizer may call repeatedly on this batch.

        A call with gradients switched off counts as a forward evaluation. Either kind spends the
        budget; a step without a call spends one.
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
