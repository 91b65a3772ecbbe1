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


class NotAnOptimizer:
    """No torch.optim.Optimizer."""
