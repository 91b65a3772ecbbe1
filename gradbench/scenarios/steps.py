"""Step functions: activations whose gradient is zero almost everywhere (section 5)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradbench.draws import Draws
from gradbench.networks import Constant, initialise, relu_network
from gradbench.scenario import Batch, Factory, Scenario, Target
from gradbench.scenarios.isotron import GLMtron, Isotron
from gradbench.scenarios.staircase import (
    LEVELS,
    Staircase,
    index,
    levels_like,
    sigmoid_slope,
    sigmoids,
    staircase,
)

HELD_OUT = 10_240
SHOWN = 100
"""Examples whose true and answered level a record keeps."""
APPROACHES = (
    "direct",
    "non-flat",
    "end-to-end",
    "multi-class",
    "forward-only",
    "straight-through",
    "surrogate",
    "glmtron",
    "isotron",
)
ONE_UNIT = {"direct", "non-flat", "forward-only", "straight-through", "surrogate", "glmtron"}
"""Approaches that train w and b of u(<w, x> + b); the others learn a function in its place."""


@dataclass(frozen=True)
class Steps(Scenario):
    """A unit with a staircase for its activation: y = u(<v*, x> + b*), u known, flat in pieces.

    v* is standard normal in R^n; u rounds down to the nearest of 52 levels. Inputs are N(0, I) / n
    as in the script (`inputs="scaled"`, where only about six levels occur) or N(0, I)
    (`"standard"`). Square loss (p - y)^2 / 2. The score is the share of exactly right levels above
    that of always naming the most frequent one; `details` adds the squared error over Var(y).

    The levels are placed around b*, so b* only shifts the problem: here everything is measured
    from it, and the bias begins `start` away from its true value. (The script begins at 0, which
    is a standard normal distance away.)

    Approaches: `direct` follows the gradient through u, which is zero; `non-flat` (5.2) trains
    through a sum of steep sigmoids; `end-to-end` (5.3) and `multi-class` (5.4) train a network
    that is not told of u; `forward-only` (5.5) passes the message back as if u were the identity,
    w <- w - eta (u(<w, x>) - y) x. Beside them, `straight-through` does so only within the range
    of the levels, and `surrogate` passes the slope of a gentle sum of sigmoids. `glmtron` and
    `isotron` are the learners after which 5.5 is modelled; they take no optimizer and have no bias.
    """

    approach: str = "forward-only"
    n: int = 100
    inputs: str = "scaled"
    start: float = 0.0

    name: ClassVar[str] = "steps"
    family: ClassVar[str] = "flatness"
    section: ClassVar[str] = "5"
    ladder: ClassVar[tuple[str, ...]] = ("n",)
    claim: ClassVar[str] = (
        "the direct gradient is zero; forward-only learns fast and exactly, the non-flat "
        "approximation hangs on its start, end-to-end and multi-class blur the steps"
    )
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES:
            raise ValueError(f"approach {self.approach!r}: choose from {', '.join(APPROACHES)}")
        if self.inputs not in {"scaled", "standard"} or self.n < 1:
            raise ValueError(f"need n >= 1 and inputs scaled or standard: {self}")

    @property
    def published(self) -> str:
        """Adam with the script's betas and eps; 0.01 for the non-flat approximation."""
        rate = 0.01 if self.approach == "non-flat" else 0.001
        return f"adam:lr={rate},betas=(0.9,0.99),eps=1e-5"

    def draw_target(self, draws: Draws) -> Target:
        """Return `weights`, v*, shape `(n,)`."""
        return {"weights": draws.normal(self.n)}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:
        """Draw x, shape `(n, self.n)`, and the level y, shape `(n,)`."""
        x = draws.normal(n, self.n)
        if self.inputs == "scaled":
            x *= 1 / self.n
        return x, staircase(x.double() @ target["weights"].double()).to(x)

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return 10,240 fixed examples."""
        return self.sample(target, HELD_OUT, draws)

    def network(self, draws: Draws) -> nn.Module:
        """Return one linear unit, or what the approach puts in its place."""
        if self.approach == "glmtron":
            return GLMtron(self.n, staircase)
        if self.approach == "isotron":
            return Isotron(self.n)
        if self.approach == "end-to-end":
            return initialise(relu_network(self.n, self.n, self.n, self.n, 1), draws)
        if self.approach == "multi-class":
            return initialise(relu_network(self.n, self.n, self.n, len(LEVELS)), draws)
        network = initialise(relu_network(self.n, 1), draws)
        nn.init.constant_(list(network.parameters())[1], self.start)
        return network

    def open_network(self, factory: Factory, draws: Draws) -> nn.Module | None:  # noqa: ARG002
        """Any network in the place of the deep ones: the others are single units."""
        sizes = {"end-to-end": 1, "multi-class": len(LEVELS)}
        if self.approach not in sizes:
            return None
        return factory(input_shape=(self.n,), output_size=sizes[self.approach])

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Square loss of each example; cross-entropy for multi-class."""
        if self.approach == "multi-class":
            return functional.cross_entropy(outputs, index(labels), reduction="none")
        return (self._value(outputs[:, 0]) - labels).square() / 2

    def _value(self, z: Tensor) -> Tensor:
        """Return what the approach takes for the unit's output, with its own way back."""
        if self.approach in {"end-to-end", "isotron"}:
            return z
        if self.approach == "non-flat":
            return sigmoids(z, steepness=50, shift=1 / 20)
        if not torch.is_grad_enabled():
            return staircase(z)
        if self.approach == "forward-only":
            gain = torch.ones_like(z)
        elif self.approach == "straight-through":
            gain = ((z >= LEVELS[0]) & (z <= LEVELS[-1])).to(z)
        elif self.approach == "surrogate":
            gain = sigmoid_slope(z, steepness=4)
        else:
            gain = torch.zeros_like(z)
        return Staircase.apply(z, gain)  # type: ignore[no-any-return]

    def residual(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """|p - y| of a unit: what would come back if its activation were the identity."""
        if self.approach in ONE_UNIT:
            return (self._value(outputs[:, 0]) - labels).abs().detach()
        return super().residual(outputs, labels)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """1 where the level is exactly right, else 0; a network's value is taken to the nearest."""
        return (self._level(outputs) == index(labels)).to(labels)

    def _level(self, outputs: Tensor) -> Tensor:
        if self.approach == "multi-class":
            return outputs.argmax(dim=1)
        if self.approach in ONE_UNIT:
            return index(outputs[:, 0])
        levels = levels_like(outputs)
        return torch.bucketize(outputs[:, 0].detach().contiguous(), (levels[1:] + levels[:-1]) / 2)

    def evaluate(self, network: nn.Module, examples: Batch) -> tuple[float, float]:
        """Return the accuracy above that of the most frequent level, and the mean loss."""
        accuracy, loss = super().evaluate(network, examples)
        frequent = _frequent(examples[1])[1]
        return (accuracy - frequent) / (1 - frequent), loss

    @torch.no_grad()
    def details(self, network: nn.Module, examples: Batch) -> dict[str, Any]:
        """Return the accuracy of the exact level and the squared error over Var(y).

        And `answers`: true and answered level of some examples, in the order of the true one.
        """
        inputs, labels = examples
        levels = self._level(network(inputs))
        answers = levels_like(labels)[levels]
        error = (answers - labels).square().mean()
        some = labels[:SHOWN].sort(stable=True).indices
        return {
            "level_accuracy": (levels == index(labels)).to(labels).mean().item(),
            "mse_over_variance": (error / labels.var(correction=0)).item(),
            "answers": torch.stack((labels[some], answers[some]), dim=1).tolist(),
        }

    def solution(self, target: Target) -> nn.Module:
        """Return the true unit, in the form that the approach's network has."""
        network = relu_network(self.n, 1)
        with torch.no_grad():
            weights, bias = network.parameters()
            weights.copy_(target["weights"])
            bias.zero_()
        if self.approach in ONE_UNIT:
            return network
        return nn.Sequential(network, _Answer(one_hot=self.approach == "multi-class"))

    def trivial(self, target: Target) -> nn.Module:
        """Return the constant answer of the most frequent level."""
        labels = self.sample(target, HELD_OUT, Draws(0))[1]
        value = torch.tensor(_frequent(labels)[0])
        answer = functional.one_hot(index(value), len(LEVELS)).float()
        return Constant(answer if self.approach == "multi-class" else value[None])


def _frequent(labels: Tensor) -> tuple[float, float]:
    """Return the most frequent label and its share."""
    values, counts = labels.unique(return_counts=True)
    most = counts.argmax()
    return float(values[most]), float(counts[most]) / len(labels)


class _Answer(nn.Module):
    """The level itself, as a value or as logits."""

    def __init__(self, *, one_hot: bool) -> None:
        super().__init__()
        self.one_hot = one_hot

    def forward(self, z: Tensor) -> Tensor:
        if self.one_hot:
            return 10 * functional.one_hot(index(z[:, 0]), len(LEVELS)).to(z)
        return staircase(z)
