"""Rare large gradients that decide: what forgets them goes the wrong way (beyond the paper)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law
from gradbench.scenarios.weight_vector import Vector, WeightVector

APPROACHES = ("periodic", "random")
INDEPENDENT = 100
"""Number of weights whose large gradients come at random."""
PHASES = 101
"""Most weights whose large gradients come once in a period."""


@dataclass(frozen=True)
class Counterexample(WeightVector):
    """Minimise a linear loss on [-1, 1] whose gradient is rarely large, and else leads astray.

    Toward an optimum of -1, a weight's gradient is C = `period` (1 + `excess`) - 1 once in `period`
    examples and -1 otherwise, `excess` on average; toward +1 all signs are turned, and each
    weight's optimum is drawn. There is a weight for each phase of the period (`periodic`), so that
    their mean is an average over time, or for 101 equally spaced ones of a longer period; or 100
    weights, whose large gradients come independently with probability 1 / `period` (`random`). The
    score is the mean of weight times optimum: 0 at the start, 1 at the optimum, -1 at its opposite.

    The interval is kept by lazy projection: the weights move freely, their projection counts, and
    the gradient is that of the identity. M. Zinkevich (ICML 2003) proves that gradient descent
    with it has no regret in the limit.

    Adam divides by a root mean square that has forgotten most of C^2 when the next large gradient
    comes: for beta2 below a threshold, which nears 1 with the period, it goes astray
    (`adam_drift`).
    Source: S. Reddi, S. Kale, S. Kumar, On the convergence of Adam and beyond (ICLR 2018),
    arXiv:1904.09237; its section 3 has a period of 101 and gradients of 1010 and -10, which is
    here `excess` = 1/101, a tenth of the size.
    """

    approach: str = "periodic"
    period: int = 101
    excess: float = 1.0

    name: ClassVar[str] = "counterexample"
    family: ClassVar[str] = "forgetting"
    section: ClassVar[str] = "beyond"
    ladder: ClassVar[tuple[str, ...]] = ("period",)
    claim: ClassVar[str] = "Adam goes the wrong way for beta2 below a threshold"

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES:
            raise ValueError(f"approach {self.approach!r}: choose from {', '.join(APPROACHES)}")
        if self.period < 2 or self.excess <= 0:
            raise ValueError(f"need period >= 2 and excess > 0: {self}")

    @property
    def size(self) -> int:
        """A weight per phase, at most 101, or 100."""
        return min(self.period, PHASES) if self.approach == "periodic" else INDEPENDENT

    @property
    def large(self) -> float:
        """The large gradient, C."""
        return self.period * (1 + self.excess) - 1

    @property
    def examples_differ(self) -> bool:
        """Yes: an example is a point in time."""
        return True

    @property
    def cycle(self) -> int:
        """A period, where its large gradient comes by turns."""
        return self.period if self.approach == "periodic" else 1

    def draw_target(self, draws: Draws) -> Target:
        """Return `optimum`, -1 or 1 for each weight, shape `(size,)`."""
        return {"optimum": 2.0 * draws.bits(self.size).to(draws.dtype) - 1}

    def labels(self, target: Target, n: int, draws: Draws) -> Tensor:
        """Return the gradients at n successive times, shape `(n, size)`."""
        if self.approach == "periodic":
            times = draws.first + torch.arange(n, device=draws.device)
            phases = torch.arange(self.size, device=draws.device) * self.period // self.size
            rare = (times[:, None] + phases) % self.period == self.period - 1
        else:
            rare = draws.integers(self.period, n, self.size) == 0
        return torch.where(rare, -self.large, 1.0).to(draws.dtype) * target["optimum"]

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return one example with the mean gradient."""
        inputs, _ = self.sample(target, 1, draws)
        return inputs, -self.excess * target["optimum"][None]

    def law(self) -> Law:
        """Return the largest beta2 with which Adam goes astray."""
        said = "beta2 up to which Adam with beta1 = 0.9 goes astray, on periodic gradients"
        return Law(said, beta2_threshold(self), "arXiv:1904.09237", axis="period")

    def _network(self, weights: Tensor) -> nn.Module:
        return Projected(weights)

    def minimum(self, target: Target) -> Tensor:
        """Return the optimum."""
        return target["optimum"]

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of gradient times weight of each example.

        With a second derivative, 0, for optimizers that ask for it.
        """
        return (outputs * labels + 0 * outputs.square()).sum(dim=1)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of weight times optimum, of examples with the mean gradient."""
        return -(outputs * labels.sign()).mean(dim=1)


class Projected(Vector):
    """Weights that count as their projection on [-1, 1], with the gradient of the identity."""

    @staticmethod
    def output(weights: Tensor) -> Tensor:
        """Return weights cut at -1 and 1; the gradient is 1 also beyond."""
        return weights.detach().clamp(-1, 1) + (weights - weights.detach())


def adam_drift(scenario: Counterexample, beta2: float, beta1: float = 0.9) -> float:
    """Return Adam's mean step per unit of rate on the periodic gradients, once its moments repeat.

    Positive is the wrong way. With s steps since the large gradient C, the moments are
    m_s = -1 + (C + 1) (1 - beta1) beta1^s / (1 - beta1^P) and
    v_s = 1 + (C^2 - 1) (1 - beta2) beta2^s / (1 - beta2^P), and the step is -m_s / sqrt(v_s).
    """
    since = torch.arange(scenario.period, dtype=torch.float64)
    whole = scenario.period

    def repeated(beta: float, gain: float) -> Tensor:
        kept: Tensor = gain * (1 - beta) * beta**since / (1 - beta**whole)
        return kept

    first = -1 + repeated(beta1, scenario.large + 1)
    second = 1 + repeated(beta2, scenario.large**2 - 1)
    return float(-(first / second.sqrt()).mean())


def beta2_threshold(scenario: Counterexample, beta1: float = 0.9) -> float:
    """Return the largest beta2 with which Adam goes the wrong way; 0 if it never does.

    The drift may change its sign several times: it is looked at in sixteen points per order of
    magnitude of 1 - beta2, down to 1e-10, and where it does last by bisection.
    """
    points = [10 ** (-k / 16) for k in range(160, 0, -1)]  # 1 - beta2, rising
    first = next((k for k, s in enumerate(points) if adam_drift(scenario, 1 - s, beta1) > 0), None)
    if not first:
        return 0.0 if first is None else 1 - points[0]
    right, wrong = points[first - 1], points[first]
    for _ in range(40):
        middle = (right * wrong) ** 0.5
        if adam_drift(scenario, 1 - middle, beta1) > 0:
            wrong = middle
        else:
            right = middle
    return 1 - wrong
