"""Detects the options of an optimizer's constructor that do not change its steps."""

import inspect
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from gradbench.optimizers.detection import quiet
from gradbench.optimizers.factory import Factory
from gradbench.optimizers.signatures import parameters_of
from gradbench.optimizers.stepping import set_mode, step
from gradbench.torch_state import unchanged

STEPS = 40
WAYS_OF_COMPUTING = {"foreach", "fused", "capturable", "differentiable", "compile", "device"}
"""Options that change how a step is computed, but not its result."""


def without_effect(factory: Factory) -> tuple[list[str], int]:
    """Return the options that change no step, and the number of options tried.

    Each option is set to other values, alone and together with another value of each other option,
    since some options matter only in combination. Options with a number, a boolean or a tuple of
    numbers as default are tried, except the learning rate and those that the spec sets.
    """
    others = {p.name: values for p in parameters_of(factory.cls) if (values := _others(p))}
    fixed = {*factory.spec.arguments, factory.rate_name, *WAYS_OF_COMPUTING}
    tried = {name: values for name, values in others.items() if name not in fixed}
    beside: list[dict[str, Any]] = [{}]
    beside += [{name: value} for name, values in others.items() for value in values[:1]]
    plain = {repr(each): _trained(factory, each) for each in beside}
    dead = []
    for name, values in tried.items():
        pairs = ((each, value) for value in values for each in beside if name not in each)
        moved = (
            not _same(plain[repr(each)], _trained(factory, each | {name: value}))
            for each, value in pairs
            if plain[repr(each)] is not None
        )
        if not any(moved):
            dead.append(name)
    return dead, len(tried)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two trainings ended with equal parameters, or one of them failed."""
    return one is None or other is None or bool(torch.equal(one, other))


def _others(parameter: inspect.Parameter) -> list[Any]:
    """Return values other than an option's default; empty for a default of another type."""
    value = parameter.default
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, 2 * value + 3]
    if isinstance(value, float):
        return list(_other_numbers(value))
    if isinstance(value, tuple) and value and all(type(v) in {int, float} for v in value):
        shrunk = tuple(0.7 * v for v in value)
        return [shrunk, tuple(chain((0.5 * value[0],), value[1:]))]
    return []


def _other_numbers(value: float) -> Iterator[float]:
    if value == 0:
        yield from (0.3, 0.01)
    elif abs(value) < 1e-3:
        yield from (0.1, 1e-2)
    else:
        yield from (0.6 * value, 1.5 * value)


def _trained(factory: Factory, options: dict[str, Any]) -> Tensor | None:
    """Return a small network's parameters after some steps, in float64; None where one fails."""
    with unchanged(torch.float64), quiet():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        inputs, labels = torch.randn(16, 4), torch.randn(16, 1)
        requirements = factory.requirements
        try:
            optimizer = factory.build(network, options, steps=STEPS, examples=16 * STEPS)
            set_mode(optimizer, requirements, "train")

            def loss() -> Tensor:
                value: Tensor = (network(inputs) - labels).square().mean()
                return value

            for _ in range(STEPS):
                step(optimizer, requirements, loss)
        except (Exception, SystemExit):  # noqa: BLE001  # a value that it refuses
            return None
        return torch.cat([p.detach().flatten() for p in network.parameters()])
