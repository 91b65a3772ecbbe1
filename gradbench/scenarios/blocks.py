"""Quadratics of unequal blocks: what a rate per coordinate gains, and loses under rotation."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gradbench.scenarios.base import Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.scenarios.weight_vector import WeightVector

APPROACHES = ("blocks", "rotated")
BLOCKS = 3
SPREAD = 0.2
"""A block's eigenvalues lie within this relative distance of its mean."""

MOST_STEPS = 10**12
DIGITS = 6.0
"""Orders of magnitude by which the loss must fall."""


@dataclass(frozen=True)
class Blocks(WeightVector):
    """Minimise a quadratic of three blocks with unequal eigenvalues: near 1, 100 and 5,000.

    At another `condition` c they are near 1, sqrt(2 c) and c.
    f(w) = (w - w*)^T A (w - w*) / 2 with `n` weights a block, w* standard normal, from w = 0; A is
    block-diagonal, each block with random axes and eigenvalues within 20 % of its mean (`blocks`),
    or the same matrix turned by a random rotation of all weights (`rotated`). The score is
    log10(f(0) / f(w)) / 6, at most 1: 0 at the start, 1 at a millionth of it.

    Gradient descent cannot tell the two apart: its iterates turn with the axes. What adapts a rate
    to each coordinate gives each block its own where the blocks are coordinates.
    Sources: Y. Zhang et al., Why transformers need Adam (2024), arXiv:2402.16788; S. Xie et al.,
    Adam exploits l-infinity geometry (2024), arXiv:2410.08198; rotation: L. Maes et al.,
    Understanding Adam requires better rotation dependent assumptions (2024), arXiv:2410.19964.
    """

    approach: str = "blocks"
    n: int = 10
    condition: float = 5000.0

    name: ClassVar[str] = "blocks"
    family: ClassVar[str] = "heterogeneity"
    section: ClassVar[str] = "beyond"
    ladder: ClassVar[tuple[str, ...]] = ("condition",)
    claim: ClassVar[str] = (
        "a rate per coordinate is worth what the blocks differ by, unless they are rotated"
    )

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES:
            raise ValueError(f"approach {self.approach!r}: choose from {', '.join(APPROACHES)}")
        if self.n < 1 or not 2 <= self.condition < math.inf:
            raise ValueError(f"need n >= 1 and condition >= 2: {self}")

    @property
    def size(self) -> int:
        """The weights of all blocks."""
        return self.n * BLOCKS

    @property
    def curvatures(self) -> tuple[float, ...]:
        """The mean curvatures of the blocks."""
        return (1.0, math.sqrt(2 * self.condition), self.condition)

    def draw_target(self, draws: Draws) -> Target:
        """Return `minimum`, w*, shape `(size,)`, and `curvature`, A, shape `(size, size)`."""
        minimum = draws.normal(self.size)
        blocks = []
        for mean in self.curvatures:
            axes = rotation(self.n, draws)
            values = mean * (1 + SPREAD * (2 * draws.uniform(self.n).double() - 1))
            blocks.append(axes @ torch.diag(values) @ axes.T)
        curvature = torch.block_diag(*blocks)
        turn = rotation(self.size, draws)
        if self.approach == "rotated":
            curvature = turn @ curvature @ turn.T
        return {"minimum": minimum, "curvature": curvature.to(minimum)}

    def labels(self, target: Target, n: int, draws: Draws) -> Tensor:  # noqa: ARG002
        """Return w* and A of each example, shape `(n, size (1 + size))`."""
        parts = (target["minimum"], target["curvature"].flatten())
        return torch.cat(parts).expand(n, -1)

    def law(self) -> Law:
        """Return gradient descent's steps at its best rate, on either approach, and their slope."""
        steps = descent_steps(self.curvatures)
        more = descent_steps(replace(self, condition=10 * self.condition).curvatures)
        return Law(
            "evaluations of gradient descent to a millionth of the loss",
            float(steps),
            "arXiv:2402.16788",
            axis="condition",
            exponent=math.log10(more / steps),
            in_evaluations=True,
        )

    def minimum(self, target: Target) -> Tensor:
        """Return w*."""
        return target["minimum"]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return f(w) of each example."""
        error = outputs - labels[:, : self.size]
        curvature = labels[:, self.size :]
        bent = curvature.unflatten(1, (self.size, self.size)) @ error[:, :, None]
        loss: Tensor = (error * bent[:, :, 0]).sum(dim=1) / 2
        return loss

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the orders of magnitude by which the loss fell, over 6, between -1 and 1."""
        start = self.loss(torch.zeros_like(outputs), labels)
        fall = (start / self.loss(outputs, labels).clamp(min=0)).log10() / DIGITS
        return fall.clamp(-1, 1)


def descent_steps(curvatures: Sequence[float], share: float = 1e-6) -> int:
    """Return the steps in which gradient descent brings the loss to a share of its start.

    At the rate 2 / (least + greatest), for equal distances along all axes and blocks without
    spread: the least t with sum lambda (1 - rate lambda)^(2 t) at most `share` of its start.
    """
    rate = 2 / (min(curvatures) + max(curvatures))

    def small(steps: int) -> bool:
        left = sum(c * (1 - rate * c) ** (2 * steps) for c in curvatures)
        return left <= share * sum(curvatures)

    return bisect_left(range(MOST_STEPS), True, key=small)  # noqa: FBT003  # the first that is


def rotation(n: int, draws: Draws) -> Tensor:
    """Return a random orthogonal matrix in float64, shape `(n, n)`: n Householder reflections.

    Each is of a normal direction, so that the matrix is uniformly distributed up to signs of its
    columns (G. W. Stewart, SIAM J. Numer. Anal. 17 (1980) 403-409, with full directions). Only
    operations that IEEE 754 rounds exactly are taken one at a time, so it is the same everywhere.
    """
    matrix = np.eye(n)
    for direction in draws.normal(n, n).double().cpu().numpy():
        square, along = 0.0, np.zeros(n)
        for k in range(n):
            square += direction[k] * direction[k]
            along += direction[k] * matrix[k]
        matrix -= np.outer(direction, along) * (2 / square)
    return torch.from_numpy(matrix)
