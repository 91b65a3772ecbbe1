"""Runs of an optimizer on a problem, step by step, with changes at chosen places."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gradbench.checks.conform.problems import LATER, Parameters, Problem
from gradbench.optimizers.factory import Factory
from gradbench.optimizers.quiet import quiet
from gradbench.optimizers.stepping import set_mode, step
from gradbench.torch_state import unchanged

SECOND_RATE = 0.3
"""Learning rate of a problem's second parameter group, over that of the first."""

PLAIN = {bool, int, float, str}
"""Types of options whose `repr` names their value exactly; paths are cached by it."""

Path = list[dict[str, Tensor]]
"""Copies of all parameters before the first step and after each, in float64."""


@dataclass(frozen=True)
class Way:
    """How an optimizer is run: its options, the numbers' type, and changes on the way.

    `before` and `after` are called around each step, `halfway` once before the middle one. With
    `apart` every parameter is a group of its own.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float64
    rounded: torch.dtype = torch.float64
    """The type to which the parameters are rounded at the start."""
    device: str = "cpu"
    before: Callable[["Run"], None] | None = None
    after: Callable[["Run"], None] | None = None
    halfway: Callable[["Run"], None] | None = None
    started: Callable[["Run"], None] | None = None
    """Called once, when the optimizer has been built."""
    apart: bool = False
    follows: bool = True
    """Whether the loss is negated for an optimizer with the option `maximize`."""

    def also(self, other: "Way") -> "Way":
        """Return this way with another's options as well, and its changes after this one's."""
        changes: dict[str, Any] = {
            name: _in_turn(getattr(self, name), getattr(other, name))
            for name in ("before", "after", "halfway", "started")
        }
        return replace(self, options={**self.options, **other.options}, **changes)


def _in_turn(
    first: Callable[["Run"], None] | None, second: Callable[["Run"], None] | None
) -> Callable[["Run"], None] | None:
    if first is None or second is None:
        return first or second

    def both(run: "Run") -> None:
        first(run)
        second(run)

    return both


class Run:
    """An optimizer on a problem; `old` holds the parameters before the last step, for hooks."""

    def __init__(self, factory: Factory, problem: Problem, way: Way, steps: int) -> None:
        self.factory, self.problem, self.way, self.steps = factory, problem, way, steps
        self.parameters: Parameters = {
            name: nn.Parameter(p.detach().to(way.device, way.dtype))
            for name, p in problem.make(way.rounded).items()
        }
        self.spent = 0
        self.optimizer = self.built()
        self.schedules: list[LRScheduler] = []
        if factory.schedules:
            self.schedules = factory.schedules.put(self.optimizer, lambda: self.spent, steps)
        self.old: dict[str, Tensor] = {}
        set_mode(self.optimizer, factory.requirements, "train")
        if way.started:
            way.started(self)

    @property
    def rate(self) -> float:
        """The learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0].get("lr", 0.0))

    def built(self) -> Optimizer:
        """Return an optimizer of the present parameters, without the one that is added later."""
        problem, found = self.problem, self.parameters
        first = [name for name in found if name not in {*problem.second, problem.later}]
        holder = nn.Module()
        for name in first[:1] if self.way.apart else first:
            holder.register_parameter(name.replace(".", "_"), found[name])
        optimizer = self.factory.build(
            holder, self.way.options, steps=self.steps, examples=16 * self.steps
        )
        for name in first[1:] if self.way.apart else []:
            optimizer.add_param_group({"params": [found[name]]})
        for name in problem.second:
            rate = SECOND_RATE * optimizer.param_groups[0]["lr"]
            optimizer.add_param_group({"params": [found[name]], "lr": rate})
        if problem.later and self.spent > LATER:  # built again on the way
            optimizer.add_param_group({"params": [found[problem.later]]})
        return optimizer

    def loss(self) -> Tensor:
        """Return the loss of the present step; its negative where the optimizer maximizes."""
        there = {
            name: p
            for name, p in self.parameters.items()
            if name != self.problem.later or self.spent >= LATER
        }
        loss = self.problem.loss(there, self.spent)
        return -loss if self.way.follows and self.way.options.get("maximize") else loss

    def step(self) -> None:
        """Take one step, with the changes of the way."""
        if self.problem.later and self.spent == LATER:
            self.optimizer.add_param_group({"params": [self.parameters[self.problem.later]]})
        if self.way.halfway and self.spent == self.steps // 2:
            self.way.halfway(self)
        if self.way.before or self.way.after:
            self.old = self.copies()
        requirements = self.factory.requirements
        if self.way.before is None:
            step(self.optimizer, requirements, self.loss)
        else:
            self.optimizer.zero_grad()
            self.loss().backward()
            with torch.no_grad():
                self.way.before(self)
            self.optimizer.step()
        if self.way.after:
            with torch.no_grad():
                self.way.after(self)
        self.spent += 1
        for schedule in self.schedules:
            schedule.step()

    def move(self, device: str) -> None:
        """Go on with parameters on a device and a new optimizer with the old one's state."""
        state = self.optimizer.state_dict()
        self.parameters = {
            name: nn.Parameter(p.detach().to(device, copy=True))
            for name, p in self.parameters.items()
        }
        self.optimizer = self.built()
        self.optimizer.load_state_dict(state)
        set_mode(self.optimizer, self.factory.requirements, "train")

    def copies(self) -> dict[str, Tensor]:
        """Return copies of all parameters, in float64."""
        return {
            name: p.detach().to("cpu", torch.float64, copy=True)
            for name, p in self.parameters.items()
        }


_KNOWN: ContextVar[dict[Hashable, Path] | None] = ContextVar("known paths", default=None)


@contextmanager
def plain_paths_once() -> Iterator[None]:
    """Within this, compute a path once and return it again, if its way calls nothing."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def path(factory: Factory, problem: Problem, way: Way, steps: int) -> Path:
    """Return the path of an optimizer on a problem; raise what the optimizer raises."""
    known = _KNOWN.get()
    plain = replace(way, options={}, dtype=torch.float64, rounded=torch.float64) == Way()
    if known is None or not plain or not {type(v) for v in way.options.values()} <= PLAIN:
        return _path(factory, problem, way, steps)
    key = id(factory), problem, steps, way.dtype, way.rounded, repr(sorted(way.options.items()))
    if key not in known:
        known[key] = _path(factory, problem, way, steps)
    return known[key]


def _path(factory: Factory, problem: Problem, way: Way, steps: int) -> Path:
    with unchanged(way.dtype), quiet():
        torch.manual_seed(0)
        run = Run(factory, problem, way, steps)
        found = [run.copies()]
        for _ in range(steps):
            run.step()
            found.append(run.copies())
        return found
