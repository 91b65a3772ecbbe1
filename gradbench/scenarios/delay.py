"""Gradients that are some steps old: what a delay allows as a rate (beyond the paper)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.scenarios.weight_vector import WeightVector

CURVATURES = (1.0, 10.0)
EACH = 5
"""Number of weights of each curvature."""

EVERY = tuple(curvature for curvature in CURVATURES for _ in range(EACH))
"""The curvature of each weight."""


@dataclass(frozen=True)
class Delay(WeightVector):
    """Minimise a quadratic of condition 10 by gradients at the weights of `delay` steps before.

    f(w) = sum_i lambda_i (w_i - w*_i)^2 / 2 over ten weights, five of curvature 1 and five of 10,
    w* standard normal, from w = 0. The network keeps its last weights: every forward pass in
    training mode is at those of `delay` passes before, at the start where there are none yet, and
    its gradient goes to the present ones. Evaluations are at the present weights, and so are
    probes. The score is 1 - |w - w*| / |w*|, at least -1.

    Gradient descent is stable if and only if rate lambda < 2 sin(pi / (2 (2 delay + 1))) for every
    curvature (`largest_rate`), so it needs about delay times the condition number of steps.
    Sources: S. A. Levin, R. M. May, A note on difference-delay equations, Theoretical Population
    Biology 9 (1976) 178-187; for training N. Giladi et al., At stability's edge (ICLR 2020),
    arXiv:1909.12340.
    """

    delay: int = 4

    name: ClassVar[str] = "delay"
    family: ClassVar[str] = "delay"
    section: ClassVar[str] = "beyond"
    ladder: ClassVar[tuple[str, ...]] = ("delay",)
    claim: ClassVar[str] = "the largest stable rate falls as one over the delay"

    def __post_init__(self) -> None:
        if self.delay < 0:
            raise ValueError(f"need delay >= 0: {self}")

    @property
    def size(self) -> int:
        """Ten weights."""
        return len(EVERY)

    def draw_target(self, draws: Draws) -> Target:
        """Return `minimum`, w*, shape `(10,)`."""
        return {"minimum": draws.normal(self.size)}

    def labels(self, target: Target, n: int, draws: Draws) -> Tensor:  # noqa: ARG002
        """Return w* for each example, shape `(n, 10)`."""
        return target["minimum"].expand(n, -1)

    def minimum(self, target: Target) -> Tensor:
        """Return w*."""
        return target["minimum"]

    def law(self) -> Law:
        """Return the steps of gradient descent to a tenth of the distance at its best rate."""
        return Law(
            "evaluations of gradient descent to a tenth of the distance",
            float(descent_steps(self.delay)),
            "arXiv:1909.12340",
            axis="delay",
            exponent=1.0,
            in_evaluations=True,
        )

    def _network(self, weights: Tensor) -> nn.Module:
        return Delayed(weights, self.delay)

    def probed(self, network: nn.Module) -> nn.Module:
        """Return the present weights, without those before."""
        present = Delayed(torch.zeros(self.size), 0)
        present.weight = network.weight  # type: ignore[assignment]  # of a Delayed
        return present

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return f(w) of each example."""
        curvature = outputs.new_tensor(EVERY)
        loss: Tensor = (curvature * (outputs - labels).square()).sum(dim=1) / 2
        return loss

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - |w - w*| / |w*| of each example, at least -1."""
        score: Tensor = 1 - (outputs - labels).norm(dim=1) / labels.norm(dim=1)
        return score.clamp(min=-1)


class Delayed(nn.Module):
    """Weights, shape `(size, 1)`, as outputs: in training mode those of some passes before.

    A stack keeps no such memory, so that these are trained one trial at a time.
    """

    before: Tensor
    """The weights of the last forward passes in training mode, oldest first, `(delay, size)`."""

    def __init__(self, weights: Tensor, delay: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights[:, None].clone())
        self.register_buffer("before", weights.repeat(delay, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the weights for each of n inputs, shape `(n, size)`."""
        weights = self.weight.squeeze(1)
        if self.training:
            present = weights.detach()
            last = torch.cat((self.before, present[None]))
            self.before.copy_(last[1:])
            weights = last[0] + (weights - present)
        return weights.expand(len(inputs), -1)


def largest_rate(delay: int, curvature: float = 1.0) -> float:
    """Return the rate below which gradient descent with a delay is stable on a curvature."""
    return 2 * math.sin(math.pi / (2 * (2 * delay + 1))) / curvature


def descent_steps(delay: int, share: float = 0.1) -> int:
    """Return the fewest steps in which gradient descent comes within a share of its distance.

    At the best of 200 rates up to the largest stable one, for equal distances along all weights:
    each weight's error follows e' = e - rate lambda e_(delay steps before).
    """
    rates = np.linspace(0.005, 0.995, 200) * largest_rate(delay, max(CURVATURES))
    pull = rates[:, None] * np.array(CURVATURES)
    errors = np.ones((delay + 1, len(rates), len(CURVATURES)))
    steps = 0
    while True:
        present = errors[-1] - pull * errors[0]
        errors = np.concatenate((errors[1:], present[None]))
        steps += 1
        if (np.sqrt((present**2).mean(axis=1)) <= share).any():
            return steps
