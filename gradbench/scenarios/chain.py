"""A product of scalars: depth alone makes gradient descent slow (beyond the paper)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.scenarios.networks import Constant

HELD_OUT = 64
FAR = 0.5
"""Largest absolute product at the start: no trial begins near its target."""


@dataclass(frozen=True)
class Chain(Scenario):
    """Bring a product of `k` weights to 1: minimise (w_1 ... w_k - 1)^2 / 2.

    w_i standard normal at the start, drawn again until their product is at most 1/2 in size. The
    network is k linear layers of one unit, applied to a random sign x with label x, so that every
    batch has the same loss. The score is 1 - (w_1 ... w_k - 1)^2.

    With high probability gradient descent needs exp(c k) steps: the product of the other weights,
    by which each weight's gradient is multiplied, is exponentially small.
    Source: O. Shamir, Exponential convergence time of gradient descent for one-dimensional deep
    linear neural networks, COLT 2019, arXiv:1809.08587.
    """

    k: int = 10

    name: ClassVar[str] = "chain"
    family: ClassVar[str] = "depth"
    section: ClassVar[str] = "beyond"
    ladder: ClassVar[tuple[str, ...]] = ("k",)
    claim: ClassVar[str] = "gradient descent needs exp(c k) steps"
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"need k >= 1: {self}")

    def draw_target(self, draws: Draws) -> Target:  # noqa: ARG002
        """Return nothing: the target is 1."""
        return {}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:  # noqa: ARG002
        """Draw signs x, shape `(n, 1)`, and return them as labels, shape `(n,)`, too."""
        x = draws.bits(n, 1).to(torch.get_default_dtype()) * 2 - 1
        return x, x[:, 0]

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return 64 fixed signs."""
        return self.sample(target, HELD_OUT, draws)

    def network(self, draws: Draws) -> nn.Module:
        """Return the layers with normal weights whose product is at most 1/2 in size."""
        while True:
            weights = draws.normal(self.k)
            if abs(weights.double().prod()) <= FAR:
                return self._layers(weights)

    def _layers(self, weights: Tensor) -> nn.Module:
        layers = [nn.Linear(1, 1, bias=False) for _ in range(self.k)]
        with torch.no_grad():
            for layer, weight in zip(layers, weights, strict=True):
                layer.weight.fill_(weight)
        return nn.Sequential(*layers)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return (p - x)^2 / 2 of each example."""
        return (outputs[:, 0] - labels).square() / 2

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - (p - x)^2 of each example."""
        return 1 - (outputs[:, 0] - labels).square()

    def law(self) -> Law:
        """Return that steps are exponential in k; the theorem leaves their number open."""
        said = "evaluations of gradient descent: exp(c k) for some c"
        return Law(said, None, "arXiv:1809.08587", axis="k", in_evaluations=True)

    def solution(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return the layers with weights 1."""
        return self._layers(torch.ones(self.k))

    def trivial(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return the constant 0."""
        return Constant(torch.zeros(1))
