"""Learning-rate schedules in a spec: `adamw+cosine:warmup=0.05`. Without one a rate is constant.

`cosine`, `linear` and `warmup` depend on the share of the budget that is spent, so that optimizers
with several evaluations per step end at the same rate as the others. Any class of
torch.optim.lr_scheduler, or a user's own, can be used instead; it is stepped once per optimizer
step.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch.optim import SGD, Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

Put = Callable[[Optimizer], LRScheduler]
"""Attaches a schedule of torch's kind to an optimizer, and returns it."""


@dataclass(frozen=True)
class Warmup:
    """Rise on a line to the full rate over a first share of the budget; constant afterwards."""

    warmup: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the budget, from 0 to below 1: {self.warmup}")

    def factor(self, spent: int, budget: int) -> float:
        """Return the factor of the rate for the step after a number of evaluations."""
        rise = round(self.warmup * budget)
        if spent < rise:
            return (spent + 1) / rise
        return self.decay((spent - rise) / max(1, budget - rise))

    def decay(self, done: float) -> float:  # noqa: ARG002
        """Return the factor after a share `done` of the evaluations that follow the warmup."""
        return 1.0


@dataclass(frozen=True)
class Linear(Warmup):
    """Fall on a line to `end` times the rate at the budget."""

    warmup: float = 0.0
    end: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.end >= 0:
            raise ValueError(f"end is a share of the rate, from 0 on: {self.end}")

    def decay(self, done: float) -> float:
        """Return the factor after a share `done` of the evaluations that follow the warmup."""
        return 1 - (1 - self.end) * done


@dataclass(frozen=True)
class Cosine(Linear):
    """Fall on half a cosine to `end` times the rate (Loshchilov and Hutter, arXiv:1608.03983)."""

    def decay(self, done: float) -> float:
        """Return the factor after a share `done` of the evaluations that follow the warmup."""
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * done)) / 2


OWN: dict[str, type[Warmup]] = {"warmup": Warmup, "linear": Linear, "cosine": Cosine}


def named(name: str) -> object:
    """Return a schedule of this module or of torch by its name, whatever the case; else None."""
    if name.lower() in OWN:
        return OWN[name.lower()]
    every = vars(lr_scheduler).items()
    return next((v for k, v in every if k.lower() == name.lower() and is_schedule(v)), None)


def is_schedule(value: object) -> bool:
    """Return whether a value is a schedule class."""
    return isinstance(value, type) and issubclass(value, LRScheduler | Warmup)


def is_own(cls: type) -> bool:
    """Return whether a schedule class is of this module's kind, which depends on the budget."""
    return issubclass(cls, Warmup)


def built(cls: Any, arguments: Mapping[str, Any]) -> "Warmup | Put":  # noqa: ANN401
    """Return a schedule of this module's kind, or a function that attaches another.

    Raises ValueError or TypeError for a wrong argument.
    """
    if is_own(cls):
        return cls(**arguments)  # type: ignore[no-any-return]
    inspect.signature(cls).bind(None, **arguments)
    return lambda optimizer: cls(optimizer, **arguments)


@dataclass(frozen=True)
class Schedules:
    """The schedules of a spec: of this module's kind (factors multiply), or of torch's kind."""

    own: tuple[Warmup, ...] = ()
    others: tuple[Put, ...] = ()
    known: bool = True
    """Whether all are of this module or of torch."""

    def __bool__(self) -> bool:
        return bool(self.own or self.others)

    def with_(self, added: "Warmup | Put") -> "Schedules":
        """Return these schedules and one more; raise ValueError where both kinds would mix."""
        if isinstance(added, Warmup):
            found = replace(self, own=(*self.own, added))
        else:
            found = replace(self, others=(*self.others, added))
        if found.own and found.others:
            raise ValueError(f"{', '.join(OWN)} do not mix with a schedule that counts steps")
        return found

    def tried(self, rate: float = 0.1) -> float:
        """Return the rate of a toy optimizer of this rate after one step with the schedules.

        Raises any error of the schedules.
        """
        toy = SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate, momentum=0.9)
        put = self.put(toy, lambda: 1, 10)
        toy.step()
        for schedule in put:
            schedule.step()
        return float(toy.param_groups[0]["lr"])

    @property
    def sets_rates(self) -> bool:
        """Whether the schedules ignore the optimizer's rate and set their own (as OneCycleLR)."""
        return bool(self.others) and self.tried(0.1) == self.tried(0.2)

    def put(self, optimizer: Optimizer, spent: Callable[[], int], budget: int) -> list[LRScheduler]:
        """Attach the schedules to an optimizer; `spent` returns the evaluations spent so far."""
        if self.own:
            return [
                LambdaLR(optimizer, lambda _: prod(s.factor(spent(), budget) for s in self.own))
            ]
        return [put(optimizer) for put in self.others]
