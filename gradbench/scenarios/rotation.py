"""A game of two players: simultaneous gradient descent turns around its solution (beyond)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.scenarios.weight_vector import Vector, WeightVector

PAIRS = 5


@dataclass(frozen=True)
class Rotation(WeightVector):
    """Find the saddle of u v + `damping` (u^2 - v^2) / 2: u descends, v ascends, at the same time.

    (u, v) = (x, y) - (x*, y*) with the saddle (x*, y*) on the unit circle at a random angle, from
    (x, y) = 0, in five such games; the outputs are all x and all y. The gradient of y has its sign
    turned, so that an optimizer that descends plays both sides. The score is 1 - |(u, v)| over its
    start, at least -1.

    A step of gradient descent multiplies the distance by |1 - rate (damping + i)| (`growth`): with
    no damping it grows at every rate, by (1 + rate^2)^(t / 2) in t steps. What looks ahead, such as
    extragradient and optimistic steps, shrinks it.
    Source: G. Zhang, Y. Yu, Convergence of gradient methods on bilinear zero-sum games (ICLR 2020),
    arXiv:1908.05699.
    """

    damping: float = 0.0

    name: ClassVar[str] = "rotation"
    family: ClassVar[str] = "rotation"
    section: ClassVar[str] = "beyond"
    claim: ClassVar[str] = "simultaneous gradient descent leaves the solution of a bilinear game"

    def __post_init__(self) -> None:
        if self.damping < 0:
            raise ValueError(f"need damping >= 0: {self}")

    @property
    def size(self) -> int:
        """Two weights a game."""
        return 2 * PAIRS

    @property
    def minimises(self) -> bool:
        """No: the saddle does not."""
        return False

    def draw_target(self, draws: Draws) -> Target:
        """Return `saddle`, all x* and then all y*, shape `(10,)`: normal directions of length 1."""
        points = draws.normal(PAIRS, 2).double()
        points = points / (points[:, :1] * points[:, :1] + points[:, 1:] * points[:, 1:]).sqrt()
        return {"saddle": points.T.flatten().to(draws.dtype)}

    def labels(self, target: Target, n: int, draws: Draws) -> Tensor:  # noqa: ARG002
        """Return the saddle for each example, shape `(n, 10)`."""
        return target["saddle"].expand(n, -1)

    def minimum(self, target: Target) -> Tensor:
        """Return the saddle."""
        return target["saddle"]

    def law(self) -> Law:
        """Return the steps of gradient descent to a tenth of the distance at its best rate."""
        said = "evaluations of gradient descent to a tenth of the distance"
        damping = self.damping
        steps = None
        if damping > 0:
            factor = growth(damping / (damping**2 + 1), damping)
            steps = float(math.ceil(math.log(0.1) / math.log(factor)))
        return Law(said, steps, "arXiv:1908.05699", in_evaluations=True)

    def _network(self, weights: Tensor) -> nn.Module:
        return Players(weights)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum over the games of each example."""
        u, v = (outputs - labels).chunk(2, dim=1)
        loss: Tensor = (u * v + self.damping * (u.square() - v.square()) / 2).sum(dim=1)
        return loss

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - |(u, v)| / |(u_0, v_0)| of each example, at least -1."""
        score: Tensor = 1 - (outputs - labels).norm(dim=1) / labels.norm(dim=1)
        return score.clamp(min=-1)


class Players(Vector):
    """Weights as outputs; the gradient of the second half has the opposite sign."""

    @staticmethod
    def output(weights: Tensor) -> Tensor:
        """Return the weights; backward turns the sign of the second half's gradient."""
        x, y = weights.chunk(2, dim=-1)
        return torch.cat((x, y.detach() - (y - y.detach())), dim=-1)


def growth(rate: float, damping: float = 0.0) -> float:
    """Return the factor by which a step of gradient descent multiplies the distance."""
    return abs(1 - rate * (damping + 1j))
