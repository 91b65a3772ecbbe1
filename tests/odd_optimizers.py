"""Optimizers that misbehave, each in one way; named in specs as `tests/odd_optimizers.py:Name`."""

import random
import warnings

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


class Vectors(Null):
    """Refuses parameters that are not matrices."""

    def __init__(self, params, lr=1e-3):
        params = list(params)
        if any(p.ndim != 2 for p in params):
            raise ValueError("matrices only")
        super().__init__(params, lr)


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


class Declares(Null):
    """Declares a need that nobody knows."""

    gradbench_needs = {"coffee": True}  # noqa: RUF012


class PassesOn(torch.optim.Adam):
    """Takes the learning rate among other keywords."""

    def __init__(self, params, **keywords):
        super().__init__(params, **keywords)


class NotAnOptimizer:
    """No torch.optim.Optimizer."""
