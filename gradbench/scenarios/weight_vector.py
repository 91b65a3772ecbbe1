"""Problems whose network is a vector of weights: the same outputs for every input."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import Constant, Weights

SHOWN = 8
"""Most entries of a target that the record holds."""


class WeightVector(Scenario):
    """A function of a vector w of `size` weights, from a fixed start.

    The network is a linear layer of one input, which is always 1, so that its outputs are w, shape
    `(n, size)`. A batch of one example is the whole objective unless labels differ.
    """

    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of weights."""

    def start(self) -> Tensor:
        """Return the weights at the start, shape `(size,)`; by default 0."""
        return torch.zeros(self.size)

    @property
    def examples_differ(self) -> bool:
        """No, unless a scenario's labels are random."""
        return False

    @abstractmethod
    def minimum(self, target: Target) -> Tensor:
        """Return the weights that minimise the objective, shape `(size,)`."""

    @abstractmethod
    def labels(self, target: Target, n: int, draws: Draws) -> Tensor:
        """Return the labels of n examples, first dimension n."""

    def describe(self, target: Target) -> dict[str, Any]:
        """Return the first entries of the target's tensors."""
        return {name: value.flatten()[:SHOWN].tolist() for name, value in target.items()}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:
        """Return inputs of 1, shape `(n, 1)`, and labels."""
        return torch.ones(n, 1, device=draws.device), self.labels(target, n, draws)

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return one example; where the labels are random, the scenario defines it otherwise."""
        return self.sample(target, 1, draws)

    def network(self, draws: Draws) -> nn.Module:  # noqa: ARG002  # the start is fixed
        """Return the weights at their start."""
        return self._network(self.start())

    def _network(self, weights: Tensor) -> nn.Module:
        layer = nn.Linear(1, self.size, bias=False)
        with torch.no_grad():
            layer.weight.copy_(weights[:, None])
        return layer

    def solution(self, target: Target) -> nn.Module:
        """Return the weights at the minimum."""
        return self._network(self.minimum(target))

    def trivial(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return the start."""
        return Constant(self.start())


class Vector(nn.Module):
    """Weights, shape `(size, 1)`, as outputs for any input; subclasses define `output`."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights[:, None].clone())

    @staticmethod
    def output(weights: Tensor) -> Tensor:
        """Return the outputs of weights of shape `(..., size)`, of the same shape."""
        return weights

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs for each of n inputs, shape `(n, size)`, in their type."""
        return self.output(self.weight.squeeze(1)).to(inputs.dtype).expand(len(inputs), -1)

    def stacked(self, inputs: Tensor, weights: Weights, _: object) -> Tensor:
        """Return them for inputs of shape `(trials, n, 1)`."""
        found = self.output(weights["weight"].squeeze(-1)).to(inputs.dtype)
        return found[:, None].expand(-1, inputs.shape[1], -1)
