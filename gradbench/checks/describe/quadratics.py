"""Steps of an optimizer on gradients that are given by a function of the parameters."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradbench.optimizers.factory import Factory
from gradbench.optimizers.quiet import quiet
from gradbench.optimizers.stepping import set_mode, step
from gradbench.torch_state import unchanged

Loss = Callable[[Sequence[Tensor], int], Tensor]
"""Returns the loss of parameters at a step, counted from 0."""


def steps(
    factory: Factory,
    start: list[Tensor],
    loss: Loss,
    count: int,
    options: Mapping[str, Any] | None = None,
) -> list[list[Tensor]]:
    """Return the parameters before the first and after each of `count` steps, in float64."""
    with unchanged(torch.float64), quiet():
        torch.manual_seed(0)
        holder = nn.Module()
        for number, value in enumerate(start):
            holder.register_parameter(f"p{number}", nn.Parameter(value.clone()))
        parameters = list(holder.parameters())
        optimizer = factory.build(holder, options or {}, steps=count, examples=16 * count)
        set_mode(optimizer, factory.requirements, "train")
        found = [[p.detach().clone() for p in parameters]]
        for number in range(count):
            step(optimizer, factory.requirements, partial(loss, parameters, number))
            found.append([p.detach().clone() for p in parameters])
        return found


def linear(gradient: list[Tensor], on: Callable[[int], float] = lambda _: 1.0) -> Loss:
    """Return a loss with these gradients, times `on(step)`."""

    def loss(parameters: Sequence[Tensor], at: int) -> Tensor:
        parts = [(g * p).sum() for g, p in zip(gradient, parameters, strict=True)]
        return torch.stack(parts).sum() * on(at)

    return loss
