"""Word frequencies by Zipf's law: gradient descent learns rare words last (beyond the paper)."""

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from gradbench.scenarios.base import Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.scenarios.weight_vector import WeightVector


@dataclass(frozen=True)
class Zipf(WeightVector):
    """Learn a number per word, where the k-th word has frequency pi_k = 1 / (k H_d).

    f(w) = sum_k pi_k (w_k - p_k)^2 / 2 over `d` words, p_k uniform on [-1, 1], from w = 0; the
    exact objective, without noise. The score is 1 - f(w) / f(0).

    Gradient descent contracts the k-th error by 1 - rate pi_k a step. With a rate of 1 / pi_1 it
    takes some k steps to the k-th word, and to a tenth of the loss about d^0.9 (see
    `descent_steps`). What steps by the sign of the gradient takes as many steps for every word.
    Source: F. Kunstner, F. Bach, Scaling laws for gradient descent and sign descent for linear
    bigram models under Zipf's law (2025), arXiv:2505.19227; here one number stands for a row.
    """

    d: int = 1000

    name: ClassVar[str] = "zipf"
    family: ClassVar[str] = "heterogeneity"
    section: ClassVar[str] = "beyond"
    ladder: ClassVar[tuple[str, ...]] = ("d",)
    claim: ClassVar[str] = "gradient descent needs about d steps, sign descent hardly more with d"

    def __post_init__(self) -> None:
        if self.d < 2:
            raise ValueError(f"need d >= 2: {self}")

    @property
    def size(self) -> int:
        """One weight per word."""
        return self.d

    @property
    def frequencies(self) -> Tensor:
        """The words' frequencies, shape `(d,)`, in float64; they sum to 1."""
        ranks = torch.arange(1, self.d + 1, dtype=torch.float64)
        return (1 / ranks) / (1 / ranks).sum()

    def draw_target(self, draws: Draws) -> Target:
        """Return `numbers`, p, shape `(d,)`."""
        return {"numbers": 2 * draws.uniform(self.d) - 1}

    def labels(self, target: Target, n: int, draws: Draws) -> Tensor:  # noqa: ARG002
        """Return p for each example, shape `(n, d)`."""
        return target["numbers"].expand(n, -1)

    def minimum(self, target: Target) -> Tensor:
        """Return p."""
        return target["numbers"]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return f(w) of each example."""
        return self._weighted(outputs - labels) / 2

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - f(w) / f(0) of each example."""
        return 1 - self._weighted(outputs - labels) / self._weighted(labels)

    def law(self) -> Law:
        """Return the steps of gradient descent at 1.9 over the first frequency, and their slope."""
        steps, more = descent_steps(self.d, rate=1.9), descent_steps(10 * self.d, rate=1.9)
        return Law(
            "evaluations of gradient descent to a tenth of the loss",
            float(steps),
            "arXiv:2505.19227",
            axis="d",
            exponent=math.log10(more / steps),
            in_evaluations=True,
        )

    def _weighted(self, errors: Tensor) -> Tensor:
        return errors.square() @ self.frequencies.to(errors)


@functools.cache
def descent_steps(d: int, share: float = 0.1, rate: float = 1.0) -> int:
    """Return the steps in which gradient descent brings the expected loss to a share of its start.

    Exactly, for targets of equal variance: the least t with sum_k pi_k (1 - rate pi_k / pi_1)^(2 t)
    at most `share`. `rate` is in units of 1 / pi_1.
    """
    ranks = np.arange(1, d + 1)
    frequencies = (1 / ranks) / (1 / ranks).sum()
    low, high = 0, 1
    while frequencies @ (1 - rate / ranks) ** (2 * high) > share:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if frequencies @ (1 - rate / ranks) ** (2 * middle) > share:
            low = middle
        else:
            high = middle
    return high
