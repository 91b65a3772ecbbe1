"""Optimizers that misbehave, each in one way; named in specs as `tests/odd_optimizers.py:Name`."""

import os
import random
import signal
import time
import warnings
from typing import ClassVar

import numpy as np
import torch
from torch.optim import SGD, Optimizer


class Null(Optimizer):
    """Never moves."""

    def __init__(self, params, lr=1e-3):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        return None


class NullClosure(Null):
    """Asks for a closure and never calls it."""

    def step(self, closure):
        return None


class Raises(Null):
    """Fails in its third step."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        if self.steps == 3:
            raise RuntimeError("the third step fails\nwith more to say")


class Poison(Null):
    """Makes every parameter NaN."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.fill_(float("nan"))


class FailsLate(torch.optim.Adam):
    """Adam whose steps fail after `at` of them: with an exception, or with parameters NaN."""

    def __init__(self, params, lr=0.01, at=0, *, raises=False):
        super().__init__(params, lr)
        self.at, self.raises, self.calls = at, raises, 0

    def step(self, closure=None):
        super().step(closure)
        self.calls += 1
        if self.calls > self.at and self.raises:
            raise RuntimeError("a late step fails")
        if self.calls > self.at:
            Poison.step(self)


class Vectors(Null):
    """Refuses parameters that are not matrices."""

    def __init__(self, params, lr=1e-3):
        params = list(params)
        if any(p.ndim != 2 for p in params):
            raise ValueError("matrices only")
        super().__init__(params, lr)


class DeclaredVectors(Vectors):
    """Refuses them, and says so."""

    gradbench_unsupported = "it steps on matrices only"


class Small(Null):
    """Cannot be built on networks of more than a hundred numbers."""

    def __init__(self, params, lr=1e-3):
        params = list(params)
        if sum(p.numel() for p in params) > 100:
            raise self.kind("too large")
        super().__init__(params, lr)

    kind = ValueError


class SmallType(Small):
    kind = TypeError


class SmallRuntime(Small):
    kind = RuntimeError


class Demanding(SGD):
    """Has no default learning rate."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)


class Rateless(SGD):
    """Has no learning rate to choose."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)


class Noisy(SGD):
    """Draws from every global generator and warns at each step."""

    def step(self, closure=None):
        warnings.warn("noisy is deprecated", DeprecationWarning, stacklevel=2)
        scale = random.random() + np.random.random() + float(torch.rand(()))
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.mul_(scale)
        return super().step(closure)


class NoisyDeclared(Noisy):
    """Says that it is element-wise, and draws nonetheless."""

    gradbench_needs: ClassVar = {"elementwise": True}


class ForwardOnly(Optimizer):
    """Keeps the better of two random neighbours, by three forward evaluations."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure):
        params = self.param_groups[0]["params"]
        best, start = float(closure()), [p.clone() for p in params]
        for _ in range(2):
            trial = [p + self.defaults["lr"] * torch.randn_like(p) for p in start]
            kept = [p.clone() for p in params]
            for p, value in zip(params, trial, strict=True):
                p.copy_(value)
            if (loss := float(closure())) < best:
                best = loss
            else:
                for p, value in zip(params, kept, strict=True):
                    p.copy_(value)


class Exits(Null):
    """Leaves the program in its first step."""

    def step(self, closure=None):
        raise SystemExit(3)


class Leak(Null):
    """Switches gradients off for whoever comes next."""

    def step(self, closure=None):
        torch.set_grad_enabled(False)


class Shrinks(SGD):
    """Changes a list that it was given."""

    def __init__(self, params, lr=0.1, scale=(1.0,)):
        self.scale = scale
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        self.scale[0] *= 0.9
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.mul_(self.scale[0])
        return super().step(closure)


class Twice(SGD):
    """Evaluates its closure twice a step, and says that it needs one."""

    gradbench_needs = {"closure": True}  # noqa: RUF012

    def step(self, closure=None):
        assert closure is not None
        with torch.enable_grad():
            closure()
            closure()
        return super().step()


class TwiceByAnotherName(Twice):
    """Shows by its signature that it needs one."""

    gradbench_needs = None

    def step(self, loss_function):
        return super().step(loss_function)


class MakesADictionary(Null):
    def __new__(cls, *args, **kwargs):
        return {}


class Declares(Null):
    """Declares a need that nobody knows."""

    gradbench_needs = {"coffee": True}  # noqa: RUF012


class PassesOn(torch.optim.Adam):
    """Takes the learning rate among other keywords."""

    def __init__(self, params, **keywords):
        super().__init__(params, **keywords)


class NotAnOptimizer:
    """No torch.optim.Optimizer."""


class Renamed(Optimizer):
    """Gradient descent, by one number after another."""

    def __init__(self, params, lr=1e-3):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(self.change(p, group["lr"] * p.grad))

    def change(self, p, change):
        return change


class CrashesAtHighRates(Renamed):
    """Cannot be built at 0.01 and fails in its third step at 0.1."""

    def __init__(self, params, lr=1e-3):
        if lr == 1e-2:
            raise ValueError("not at this rate")
        super().__init__(params, lr)
        self.taken = 0

    def step(self, closure=None):
        self.taken += 1
        if self.taken == 3 and self.param_groups[0]["lr"] == 0.1:
            raise RuntimeError("the rate is too high")
        super().step()


class SlowOnLargeTensors(Renamed):
    """Halves its steps on tensors of more than 200 numbers."""

    def change(self, p, change):
        return change / 2 if p.numel() > 200 else change


class ClipsTheNorm(Renamed):
    """Shortens each tensor's step to length 1."""

    def change(self, p, change):
        return change / change.norm().clamp(min=1)


class ByShape(Renamed):
    """Decays matrices only."""

    def change(self, p, change):
        return change + 0.1 * p if p.ndim == 2 and len(p) == 3 and p.shape[1] < 10 else change


class AfterTenSteps(Renamed):
    """Turns from gradient descent to a normalised one."""

    def change(self, p, change):
        self.state[p]["taken"] = self.state[p].get("taken", 0) + 1
        return change / change.norm() if self.state[p]["taken"] > 10 else change


class Declared(Renamed):
    """Writes by a mask, which no audit lets pass, and says that it is element-wise."""

    gradbench_needs: ClassVar = {"elementwise": True}

    def change(self, p, change):
        change[change > 1] = 1.0
        return change


class DeclaredCoupled(Renamed):
    """Gradient descent that says it is not element-wise."""

    gradbench_needs: ClassVar = {"elementwise": False}


class NeverReturns(Renamed):
    """Sleeps for an hour, once a training has begun."""

    def step(self, closure=None):
        if len(self.param_groups[0]["params"][0]) > 3:  # no toy
            time.sleep(3600)
        super().step()


class KillsItsProcess(Renamed):
    """Ends the process that it runs in, once a training has begun."""

    def step(self, closure=None):
        if len(self.param_groups[0]["params"][0]) > 3:  # no toy
            os.kill(os.getpid(), signal.SIGKILL)
        super().step()


class TakesMemory(Renamed):
    """Fills 64 MB in each step, and gives them back."""

    def step(self, closure=None):
        torch.ones(2**24)
        super().step()


class Searched(Renamed):
    """Clips its step's length where a point of its space says so."""

    gradbench_space: ClassVar = {"lr": (1e-3, 1e-1, "log"), "clip": (0.0, 1.0)}

    def __init__(self, params, lr=1e-2, clip=0.0):
        super().__init__(params, lr)
        self.clip = clip

    def change(self, p, change):
        return change / change.norm().clamp(min=self.clip) if self.clip else change
