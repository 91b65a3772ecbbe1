"""A block's forward and backward pass: as it comes, or compiled by torch.compile."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gradbench.scenario import Scenario
from gradbench.stack.layers import Stackable, forward
from gradbench.stack.rows import Rows

Pass = Callable[[Tensor, Tensor, Tensor], None]
"""Puts the gradients of all rows of a block into their places.

Takes inputs `(rows, n, ...)`, labels `(rows, n, ...)` and each loss's weight `(rows * n,)`.
"""

Forward = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""A network's forward pass on inputs `(rows, n, ...)`, with its parameters `(rows, *shape)`."""


class Passes(Protocol):
    """Makes the passes of a stack's blocks."""

    def of(self, rows: Rows, part: slice) -> Pass:
        """Return the pass of the rows of a block."""


class Eager:
    """Passes by kernels of our own, one after another."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def of(self, rows: Rows, part: slice) -> Pass:
        """Return the pass of the rows of a block."""
        layer = forward(rows.networks[0], rows.place(part))

        def run(inputs: Tensor, labels: Tensor, weights: Tensor) -> None:
            losses = self.scenario.loss(layer(inputs).flatten(0, 1), labels.flatten(0, 1))
            losses.backward(weights)

        return run


class Compiled:
    """Passes by one compiled function, whatever the number of rows."""

    def __init__(self, scenario: Scenario, network: nn.Module) -> None:
        layer = _plain(network, {id(p): i for i, p in enumerate(network.parameters())})

        def loss(
            parameters: Sequence[Tensor], inputs: Tensor, labels: Tensor, weights: Tensor
        ) -> Tensor:
            outputs = layer(inputs, parameters).flatten(0, 1)
            return (scenario.loss(outputs, labels.flatten(0, 1)) * weights).sum()

        # a code object of its own: torch keeps what it has compiled by code, and not much of it
        loss.__code__ = loss.__code__.replace(co_name=f"loss_{id(self)}")
        with warnings.catch_warnings():  # what torch says of itself
            warnings.simplefilter("ignore")
            self.loss: Callable[..., Tensor] = torch.compile(loss)
        self.compiled = False

    def of(self, rows: Rows, part: slice) -> Pass:
        """Return the pass of the rows of a block."""
        indices = range(len(rows.shapes))
        parameters = [rows.view(rows.values, i)[part].detach() for i in indices]
        places = [rows.view(rows.grads, i)[part] for i in indices]
        for parameter in parameters:
            _any_rows(parameter.requires_grad_())

        def run(inputs: Tensor, labels: Tensor, weights: Tensor) -> None:
            # one function whether all rows share a batch or not
            inputs, labels = inputs.contiguous(), labels.contiguous()
            for given in (inputs, labels, weights):
                _any_rows(given)
            if self.compiled:
                total = self.loss(parameters, inputs, labels, weights)
            else:
                with warnings.catch_warnings():  # and while it compiles
                    warnings.simplefilter("ignore")
                    total = self.loss(parameters, inputs, labels, weights)
                self.compiled = True
            gradients = torch.autograd.grad(total, parameters)
            for place, gradient in zip(places, gradients, strict=True):
                place.copy_(gradient)

        return run


def _any_rows(tensor: Tensor) -> None:
    """Have torch compile for any number of rows at once."""
    torch._dynamo.maybe_mark_dynamic(tensor, 0)  # noqa: SLF001


def _plain(module: Any, places: dict[int, int]) -> Forward:  # noqa: ANN401
    """Return a network's forward pass in operations that torch can see through."""
    if type(module) is nn.Linear:
        weight, bias = places[id(module.weight)], places.get(id(module.bias))

        def linear(x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
            out = torch.bmm(x, parameters[weight].mT)
            return out if bias is None else out + parameters[bias][:, None]

        return linear
    if type(module) is nn.Sequential:
        layers = [_plain(child, places) for child in module.children()]

        def chain(x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
            for layer in layers:
                x = layer(x, parameters)
            return x

        return chain
    if type(module) is nn.Flatten:
        return lambda x, _: x.flatten(2)
    if isinstance(module, Stackable):
        return _own(module, places)
    if type(module) is nn.ReLU:  # not in place
        return lambda x, _: torch.relu(x)
    return lambda x, _: module(x)  # point by point


def _own(module: Any, places: dict[int, int]) -> Forward:  # noqa: ANN401
    parts = {name: _plain(child, places) for name, child in module.named_children()}
    names = {name: places[id(p)] for name, p in module.named_parameters(recurse=False)}

    def run(x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        weights = {name: parameters[index] for name, index in names.items()}
        bound = {name: lambda x, part=part: part(x, parameters) for name, part in parts.items()}
        out: Tensor = module.stacked(x, weights, bound)
        return out

    return run
