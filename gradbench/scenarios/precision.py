"""Weights kept in few bits: a step below half a unit in the last place is lost (beyond)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.scenarios.weight_vector import Vector, WeightVector

KEPT = ("bfloat16", "float16", "float32")
START = 1.25
EVERY = (1.0,) * 5 + (100.0,) * 5
"""The curvature of each weight."""


@dataclass(frozen=True)
class Precision(WeightVector):
    """Minimise a quadratic of condition 100 with weights of a type that has few digits.

    f(w) = sum_i lambda_i (w_i - w*_i)^2 / 2 over ten weights, five of curvature 1 and five of 100,
    from w = 1.25, w* uniform on [1, 1.5]. The weights are `kept` in bfloat16 (8 significant bits),
    float16 (11) or float32 (24), and so are their gradients; f is computed in torch's default type.
    The score is 1 - |w - w*| / |w_0 - w*|.

    Between 1 and 2 neighbours are 2^-7 apart in bfloat16, so that an update of less than 2^-8 is
    rounded away. Gradient descent has to keep its rate below 2 / 100, and its weights of curvature
    1 stay where they are if they are nearer than 2^-8 / rate, at least .2 (`standstill`).
    Weights with more digits beside (a float32 copy, Kahan's sums) or stochastic rounding pass.
    Source: P. Zamirai et al., Revisiting BFloat16 training (2020), arXiv:2010.06192.
    """

    kept: str = "bfloat16"

    name: ClassVar[str] = "precision"
    family: ClassVar[str] = "precision"
    section: ClassVar[str] = "beyond"
    claim: ClassVar[str] = "updates below half a unit in the last place are lost"

    def __post_init__(self) -> None:
        if self.kept not in KEPT:
            raise ValueError(f"kept {self.kept!r}: choose from {', '.join(KEPT)}")

    @property
    def size(self) -> int:
        """Ten weights."""
        return len(EVERY)

    @property
    def dtype(self) -> torch.dtype:
        """The weights' type."""
        found: torch.dtype = getattr(torch, self.kept)
        return found

    def start(self) -> Tensor:
        """Return 1.25 everywhere."""
        return torch.full((self.size,), START)

    def draw_target(self, draws: Draws) -> Target:
        """Return `minimum`, w*, shape `(10,)`."""
        return {"minimum": 1 + draws.uniform(self.size) / 2}

    def labels(self, target: Target, n: int, draws: Draws) -> Tensor:  # noqa: ARG002
        """Return w* for each example, shape `(n, 10)`."""
        return target["minimum"].expand(n, -1)

    def minimum(self, target: Target) -> Tensor:
        """Return w*."""
        return target["minimum"]

    def law(self) -> Law:
        """Return the distance below which a rate of 0.01 moves no weight of curvature 1."""
        said = "distance at which gradient descent with a rate of 0.01 stands still"
        return Law(said, standstill(self.kept, 0.01), "arXiv:2010.06192")

    def _network(self, weights: Tensor) -> nn.Module:
        return Vector(weights.to(self.dtype))

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return f(w) of each example."""
        curvature = outputs.new_tensor(EVERY)
        loss: Tensor = (curvature * (outputs - labels).square()).sum(dim=1) / 2
        return loss

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - |w - w*| / |w_0 - w*| of each example."""
        score: Tensor = 1 - (outputs - labels).norm(dim=1) / (labels - START).norm(dim=1)
        return score


def standstill(kept: str, rate: float, curvature: float = 1.0) -> float:
    """Return the distance from w* below which gradient descent no longer moves a weight in (1, 2).

    Half a unit in the last place, which is half of `torch.finfo(dtype).eps` there, over the rate
    and the curvature.
    """
    return float(torch.finfo(getattr(torch, kept)).eps) / 2 / (rate * curvature)
