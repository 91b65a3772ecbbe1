"""A block's forward and backward pass."""

from collections.abc import Callable

from torch import Tensor

from gradbench.scenarios.base import Scenario
from gradbench.training.stack.layers import forward
from gradbench.training.stack.parameters import StackedParameters

Pass = Callable[[Tensor, Tensor, Tensor], None]
"""Writes the gradients of all rows of a block to their buffers.

Takes inputs `(rows, n, ...)`, labels `(rows, n, ...)` and each loss's weight `(rows * n,)`.
"""


def block_pass(scenario: Scenario, rows: StackedParameters, part: slice) -> Pass:
    """Return the forward and backward pass of a block of rows."""
    layer = forward(rows.networks[0], rows.place(part))

    def run(inputs: Tensor, labels: Tensor, weights: Tensor) -> None:
        losses = scenario.loss(layer(inputs).flatten(0, 1), labels.flatten(0, 1))
        losses.backward(weights)

    return run
