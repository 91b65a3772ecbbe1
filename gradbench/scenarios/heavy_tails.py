"""Gradient noise of infinite variance: what does not bound its steps is thrown out (beyond)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gradbench.scenarios.base import Batch, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.scenarios.weight_vector import WeightVector

START = 5.0
"""Distance of the start from the minimum, in each coordinate."""


@dataclass(frozen=True)
class HeavyTails(WeightVector):
    """Minimise |w - w*|^2 / 2 from gradients with noise of Student's t-distribution.

    The loss of an example is |w - w*|^2 / 2 + <w, z>, so that its gradient is w - w* + z, with z of
    `size` = 10 independent t-distributed numbers of `nu` degrees of freedom; w* uniform on
    [-1, 1]^10, from 5 in each coordinate beyond it. The held-out example has z = 0; the score is
    1 - |w - w*| / |w_0 - w*|.

    For nu at most 2 the variance of z is infinite. With nu = 1 the error of gradient descent at any
    constant rate tends to a Cauchy distribution of scale 1, whatever the rate: a smaller one only
    averages longer, which is no help (see `stationary_scale`). Clipped steps and signs are bounded.
    Source: J. Zhang et al., Why are adaptive methods good for attention models? (2019),
    arXiv:1912.03194.
    """

    nu: int = 1

    name: ClassVar[str] = "heavy-tails"
    family: ClassVar[str] = "noise"
    section: ClassVar[str] = "beyond"
    claim: ClassVar[str] = "for nu at most 2 gradient descent fails; clipping and signs do not"

    def __post_init__(self) -> None:
        if self.nu < 1:
            raise ValueError(f"need nu >= 1: {self}")

    @property
    def size(self) -> int:
        """Ten weights."""
        return 10

    @property
    def examples_differ(self) -> bool:
        """Yes: each has its own noise."""
        return True

    @property
    def has_expected_loss(self) -> bool:
        """Whether the noise has a mean: not with one degree of freedom."""
        return self.nu > 1

    def draw_target(self, draws: Draws) -> Target:
        """Return `minimum`, w*, shape `(10,)`."""
        return {"minimum": 2 * draws.uniform(self.size) - 1 - START}

    def labels(self, target: Target, n: int, draws: Draws) -> Tensor:
        """Return w* and z of each example, shape `(n, 20)`."""
        shown = target["minimum"].expand(n, -1)
        return torch.cat((shown, student(self.nu, n, self.size, draws)), dim=1)

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return one example without noise."""
        inputs, labels = self.sample(target, 1, draws)
        labels[:, self.size :] = 0
        return inputs, labels

    def law(self) -> Law:
        """Return the degrees of freedom up to which the noise has no variance."""
        said = "degrees of freedom up to which the noise has no variance"
        return Law(said, 2.0, "arXiv:1912.03194", axis="nu")

    def minimum(self, target: Target) -> Tensor:
        """Return w*."""
        return target["minimum"]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return |w - w*|^2 / 2 + <w, z> of each example."""
        minimum, noise = labels[:, : self.size], labels[:, self.size :]
        loss: Tensor = (outputs - minimum).square().sum(dim=1) / 2 + (outputs * noise).sum(dim=1)
        return loss

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - |w - w*| / |w*| of each example; the start is 0."""
        minimum = labels[:, : self.size]
        score: Tensor = 1 - (outputs - minimum).norm(dim=1) / minimum.norm(dim=1)
        return score


def student(nu: int, n: int, size: int, draws: Draws) -> Tensor:
    """Draw t-distributed numbers of nu degrees of freedom, shape `(n, size)`.

    A normal number over the root of the mean of nu squares of others, one operation at a time.
    """
    drawn = draws.normal(n, size * (nu + 1)).double().unflatten(1, (size, nu + 1))
    squares = torch.zeros_like(drawn[:, :, 0])
    for k in range(1, nu + 1):
        squares = squares + drawn[:, :, k] * drawn[:, :, k]
    found: Tensor = drawn[:, :, 0] / (squares / nu).sqrt()
    return found.to(torch.get_default_dtype())


def stationary_scale(rate: float) -> float:
    """Return the scale of the Cauchy distribution to which gradient descent's error tends.

    w' = (1 - rate) w - rate z, and scales of Cauchy numbers add: rate (1 + (1 - rate) + ...), which
    is 1 for every rate up to 1.
    """
    return rate / (1 - abs(1 - rate))
