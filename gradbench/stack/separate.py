"""An optimizer per trial of a stack, on ordinary parameters of the trial's own network.

Gradients are copied from the stack's rows into new tensors before each step, values back into the
rows after it. So a step finds what the plain loop gives it: contiguous parameters with storage of
their own, and gradients that nobody else holds. Whatever asks for more is refused here, and its
trials then run one at a time.
"""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from gradbench.stack.rows import Rows
from gradbench.training import Training


class UnstackableError(Exception):
    """These trials must run one at a time; the message says why."""


class Separate:
    """Steps each trial of a stack by its own optimizer."""

    def __init__(self, rows: Rows, trainings: list[Training]) -> None:
        self.rows, self.trainings = rows, trainings
        self.parameters = [list(training.network.parameters()) for training in trainings]
        for training in trainings:
            training.equip()
        self.random = random_state(rows.values.device)
        self.bind(trainings)
        for row in range(len(trainings)):
            self._put(row)  # a constructor may have changed them

    def bind(self, trainings: list[Training]) -> None:
        """Take over the rows and trials that are left."""
        before = zip(self.trainings, self.parameters, strict=True)
        left = {id(training): parameters for training, parameters in before}
        self.trainings = trainings
        self.parameters = [left[id(training)] for training in trainings]
        self.values = self.rows.views(self.rows.values)
        self.grads = self.rows.views(self.rows.grads)
        self.check()

    def step(self, row: int) -> None:
        """Step one trial along the gradients in its row, and copy its values there."""
        training, parameters = self.trainings[row], self.parameters[row]
        optimizer = training.optimizer
        if "zero_grad" in vars(optimizer) or type(optimizer).zero_grad is not Optimizer.zero_grad:
            optimizer.zero_grad()
        for parameter, grad in zip(parameters, self.grads[row], strict=True):
            parameter.grad = grad.clone(memory_format=torch.contiguous_format)
        optimizer.step()
        for schedule in training.schedules:
            schedule.step()
        self._put(row)

    @torch.no_grad()
    def _put(self, row: int) -> None:
        for value, parameter in zip(self.values[row], self.parameters[row], strict=True):
            value.copy_(parameter)

    def check(self) -> None:
        """Raise UnstackableError where a trial is no longer what a stack can train."""
        if random_state(self.rows.values.device) != self.random:
            raise UnstackableError("it draws random numbers")
        for training, parameters in zip(self.trainings, self.parameters, strict=True):
            now = list(training.network.parameters())
            if [id(p) for p in now] != [id(p) for p in parameters]:
                raise UnstackableError("it replaces parameters")
            if any(p.shape != shape for p, shape in zip(now, self.rows.shapes, strict=True)):
                raise UnstackableError("it reshapes parameters")
            if any(p.dtype != self.rows.values.dtype for p in now):
                raise UnstackableError("it changes the parameters' type")
            if not all(p.requires_grad for p in now):
                raise UnstackableError("it freezes parameters")
            if any(map(_hooked, now)) or any(map(_hooked_module, training.network.modules())):
                raise UnstackableError("it registers hooks")


def _hooked(parameter: Tensor) -> bool:
    hooks = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return any(getattr(parameter, name, None) for name in hooks)


def _hooked_module(module: torch.nn.Module) -> bool:
    return any(hooks for name, hooks in vars(module).items() if name.endswith("_hooks"))


def random_state(device: torch.device) -> tuple[Any, ...]:
    """Return the states of all global generators that a step may draw from."""
    legacy: Any = np.random.get_state()  # noqa: NPY002
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device))
    numbers = tuple(state.numpy().tobytes() for state in states)
    return *numbers, random.getstate(), legacy[1].tobytes(), legacy[2]
