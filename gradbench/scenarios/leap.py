"""Staircases and leaps: what a network learns step by step, and what at once (beyond the paper)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.scenarios.networks import Constant, initialise, relu_network

APPROACHES = ("staircase", "leap")
WIDTH = 100
HELD_OUT = 4096
VARIANCE = 3.0
"""The variance of both functions: three monomials of variance 1, or one of variance 3."""

CORNERS = 8
"""Values of the three bits."""


@dataclass(frozen=True)
class Leap(Scenario):
    """Learn a function of three of `d` random bits, at random positions, by two layers.

    `staircase`: y = x_a + x_a x_b + x_a x_b x_c; `leap`: y = sqrt(3) x_a x_b x_c; x uniform on
    {-1, +1}^d. Square loss (p - y)^2 / 2, one ReLU layer of width 100; the score is 1 - MSE / 3.

    The leap of a function is the most new variables that a monomial adds to those before it: 1 and
    3. Online gradient descent takes about d^max(leap - 1, 1) steps up to logarithms.
    Source: E. Abbe, E. Boix-Adsera, T. Misiakiewicz, SGD learning on neural networks: leap
    complexity and saddle-to-saddle dynamics, COLT 2023, arXiv:2302.11055.
    """

    approach: str = "staircase"
    d: int = 30

    name: ClassVar[str] = "leap"
    family: ClassVar[str] = "hierarchy"
    section: ClassVar[str] = "beyond"
    ladder: ClassVar[tuple[str, ...]] = ("d",)
    claim: ClassVar[str] = "steps grow as d^max(leap - 1, 1): a staircase is climbed, a leap is not"
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES:
            raise ValueError(f"approach {self.approach!r}: choose from {', '.join(APPROACHES)}")
        if self.d < 3:
            raise ValueError(f"need d >= 3: {self}")

    def draw_target(self, draws: Draws) -> Target:
        """Return `positions`, of the three bits in their order, shape `(3,)`."""
        return {"positions": draws.permutation(self.d)[:3]}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:
        """Draw x, shape `(n, d)`, and y, shape `(n,)`."""
        x = draws.bits(n, self.d).to(torch.get_default_dtype()) * 2 - 1
        return x, self.value(x[:, target["positions"].to(x.device)])

    def value(self, bits: Tensor) -> Tensor:
        """Return y of the three bits, shape `(n, 3)`."""
        first, second, third = bits[:, 0], bits[:, 1], bits[:, 2]
        if self.approach == "leap":
            return first * second * third * math.sqrt(VARIANCE)
        return first + first * second + first * second * third

    def law(self) -> Law:
        """Return the power of d with which the steps of gradient descent grow."""
        leap = 3 if self.approach == "leap" else 1
        return Law(
            "evaluations of gradient descent",
            None,
            "arXiv:2302.11055",
            axis="d",
            exponent=float(max(leap - 1, 1)),
            in_evaluations=True,
        )

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return 4096 fixed examples."""
        return self.sample(target, HELD_OUT, draws)

    def network(self, draws: Draws) -> nn.Module:
        """Return one ReLU layer of width 100."""
        return initialise(relu_network(self.d, WIDTH, 1), draws)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the square loss (p - y)^2 / 2 of each example."""
        return (outputs[:, 0] - labels).square() / 2

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - (p - y)^2 / 3 of each example; Var(y) = 3."""
        return 1 - (outputs[:, 0] - labels).square() / VARIANCE

    def solution(self, target: Target) -> nn.Module:
        """Return the same network with weights that solve the target.

        One unit per corner of the three bits, relu(<c, x> - 2), is 1 at its corner c, else 0.
        """
        network = relu_network(self.d, WIDTH, 1)
        corners = torch.tensor([[1.0 - 2 * (c >> k & 1) for k in range(3)] for c in range(CORNERS)])
        with torch.no_grad():
            parameters = list(network.parameters())
            for parameter in parameters:
                parameter.zero_()
            for k, position in enumerate(target["positions"].tolist()):
                parameters[0][:CORNERS, position] = corners[:, k]
            parameters[1][:CORNERS] = -2.0
            parameters[2][0, :CORNERS] = self.value(corners)
        return network

    def trivial(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return the constant 0, the mean of y."""
        return Constant(torch.zeros(1))
