"""Step functions: activations whose gradient is zero almost everywhere (section 5).

The non-flat approximation's sigmoids are centred a twentieth of a step below each level, so the
minimiser of its own loss is not the true unit: it scores about 0.84 at n = 100 and 0.85 at n = 20.
A case's target must lie below that.

One file: the nine approaches share labels, loss and score.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradbench.scenarios.base import Batch, Factory, Scenario, Target
from gradbench.scenarios.components.isotron import GLMtron, Isotron
from gradbench.scenarios.components.staircase import (
    LEVELS,
    Staircase,
    index,
    levels_like,
    sigmoid_slope,
    sigmoids,
    staircase,
)
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import Constant, initialise, relu_network

HELD_OUT = 10_240
SHOWN = 100
"""Number of examples for which a record stores the true and the predicted level."""
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
"""Approaches that learn w, and b if any, of u(<w, x> + b); the others learn another function."""
LEARNERS = {"glmtron", "isotron"}
WINDOW = 1.0
"""Largest |<w, x> + b| at which `straight-through` passes the message back: the range of a hard
tanh (I. Hubara et al., NIPS 2016, section 1.3)."""
ROUNDING = 1e-5
"""Offset above a level, so that adding and subtracting b* in float32 does not change the level."""
STEEPNESS, SHIFT = 50, 1 / 20
"""Steepness and shift of the sigmoids of the non-flat approximation, as in the script."""


@dataclass(frozen=True)
class Steps(Scenario):
    """A unit with a staircase for its activation: y = u(<v*, x> + b*), u known, flat in pieces.

    v* is standard normal in R^n; u rounds down to the nearest of 52 levels. Inputs are N(0, I) / n
    as in the script (`inputs="scaled"`, where only about six levels occur) or N(0, I)
    (`"standard"`). Square loss (p - y)^2 / 2. The score is the share of exactly right levels above
    that of always naming the most frequent one; `details` adds the squared error over Var(y).

    The levels are placed around b*, so b* only shifts the problem. With a number for `start`, all
    is measured from b*: b begins `start` above its true value (-b* in the paper's coordinates) and
    ends at 0. With `start="script"` b* is standard normal, a part of the target, and b begins at 0;
    labels then have a second column, b*.

    Approaches: `direct` follows the gradient through u, which is zero; `non-flat` (5.2) trains
    through a sum of steep sigmoids; `end-to-end` (5.3) and `multi-class` (5.4) train a network
    that does not know u; `forward-only` (5.5) passes the message back as if u were the identity,
    w <- w - eta (u(<w, x>) - y) x. Beside them, `straight-through` does so only where
    |<w, x> + b| <= 1 in the paper's coordinates, so that no message comes back from beyond that
    window, and `surrogate` passes the slope of a gentle sum of sigmoids. `glmtron` and `isotron`
    are the learners after which 5.5 is modelled; they take no optimizer and have no bias.
    """

    approach: str = "forward-only"
    n: int = 100
    inputs: str = "scaled"
    start: float | str = 0.0

    name: ClassVar[str] = "steps"
    family: ClassVar[str] = "flatness"
    section: ClassVar[str] = "5"
    ladder: ClassVar[tuple[str, ...]] = ("n",)
    claim: ClassVar[str] = (
        "the direct gradient is zero; forward-only learns fast and exactly, the non-flat "
        "approximation depends on its start, end-to-end and multi-class blur the steps"
    )
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES:
            raise ValueError(f"approach {self.approach!r}: choose from {', '.join(APPROACHES)}")
        if self.inputs not in {"scaled", "standard"} or self.n < 1:
            raise ValueError(f"need n >= 1 and inputs scaled or standard: {self}")
        if isinstance(self.start, str) and self.start != "script":
            raise ValueError(f"start {self.start!r}: a number, the bias's distance, or script")
        if self.approach in LEARNERS and self.start != 0:
            raise ValueError(f"{self.approach} has no bias, so that its start is 0: {self.start}")

    @property
    def published(self) -> str:
        """Adam with the script's betas and eps; lr 0.001, or 0.01 for non-flat."""
        return f"adam:lr={0.01 if self.approach == 'non-flat' else 0.001},betas=(0.9,0.99),eps=1e-5"

    def draw_target(self, draws: Draws) -> Target:
        """Return `weights`, v*, shape `(n,)`; with the script's start also `bias`, b*."""
        target = {"weights": draws.normal(self.n)}
        return target | {"bias": draws.normal(1)[0]} if self.start == "script" else target

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:
        """Draw x, shape `(n, self.n)`, and the level y, shape `(n,)`, counted from b*.

        With the script's start labels have shape `(n, 2)`: y and b*.
        """
        x = draws.normal(n, self.n)
        x *= 1 / self.n if self.inputs == "scaled" else 1
        y = staircase(x.double() @ target["weights"].double()).to(x)
        if self.start == "script":
            y = torch.stack((y, target["bias"].to(y).expand_as(y)), dim=1)
        return x, y

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return 10,240 fixed examples."""
        return self.sample(target, HELD_OUT, draws)

    def network(self, draws: Draws) -> nn.Module:
        """Return the approach's network: one linear unit, a ReLU network or a `Learner`."""
        if self.approach == "glmtron":
            return GLMtron(self.n, staircase)
        if self.approach == "isotron":
            return Isotron(self.n)
        if self.approach == "end-to-end":
            return initialise(relu_network(self.n, self.n, self.n, self.n, 1), draws)
        if self.approach == "multi-class":
            return initialise(relu_network(self.n, self.n, self.n, len(LEVELS)), draws)
        network = initialise(relu_network(self.n, 1), draws)
        start = 0.0 if isinstance(self.start, str) else self.start
        nn.init.constant_(list(network.parameters())[1], start)
        return network

    def open_network(self, factory: Factory, draws: Draws) -> nn.Module | None:  # noqa: ARG002
        """Return a network from `factory` for end-to-end and multi-class; None for the others."""
        sizes = {"end-to-end": 1, "multi-class": len(LEVELS)}
        if self.approach not in sizes:
            return None
        return factory(input_shape=(self.n,), output_size=sizes[self.approach])

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the square loss of each example; the cross-entropy for multi-class."""
        y, bias = self._split(labels)
        if self.approach == "multi-class":
            return functional.cross_entropy(outputs, index(y), reduction="none")
        return (self._value(outputs[:, 0] - bias, bias) - y).square() / 2

    def _split(self, labels: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return y counted from b*, and the offset to subtract from outputs: b* or 0."""
        if self.start == "script":
            return labels[..., 0], labels[..., 1]
        return labels, 0.0

    def _value(self, z: Tensor, bias: Tensor | float) -> Tensor:
        """Return the unit's output at z, counted from b*, with the approach's own derivative."""
        if self.approach in {"end-to-end", "isotron"}:
            return z
        if self.approach == "non-flat":
            return sigmoids(z, STEEPNESS, SHIFT)
        if not torch.is_grad_enabled():
            return staircase(z)
        if self.approach == "forward-only":
            gain = torch.ones_like(z)
        elif self.approach == "straight-through":
            zero = bias if isinstance(self.start, str) else -self.start
            gain = ((z + zero).abs() <= WINDOW).to(z)
        elif self.approach == "surrogate":
            gain = sigmoid_slope(z, steepness=4)
        else:
            gain = torch.zeros_like(z)
        return Staircase.apply(z, gain)  # type: ignore[no-any-return]

    def residual(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return |p - y| for a single unit: the backward message if u were the identity.

        The other approaches use the default.
        """
        if self.approach in ONE_UNIT:
            y, bias = self._split(labels)
            return (self._value(outputs[:, 0] - bias, bias) - y).abs().detach()
        return super().residual(outputs, labels)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 where the predicted level is exactly right, else 0.

        The output of end-to-end and Isotron is rounded to the nearest level.
        """
        y, bias = self._split(labels)
        return (self._level(outputs, bias) == index(y)).to(y)

    def _level(self, outputs: Tensor, bias: Tensor | float) -> Tensor:
        if self.approach == "multi-class":
            return outputs.argmax(dim=1)
        z = outputs[:, 0].detach() - bias
        if self.approach in ONE_UNIT:
            return index(z)
        levels = levels_like(outputs)
        return torch.bucketize(z.contiguous(), (levels[1:] + levels[:-1]) / 2)

    def held_out_score(self, score: float, labels: Tensor) -> float:
        """Return the accuracy rescaled: 0 for always the most frequent level, 1 for all right."""
        frequent = _share_of_most_frequent(self, labels)
        return (self.normalise(score) - frequent) / (1 - frequent)

    @torch.no_grad()
    def details(self, network: nn.Module, examples: Batch) -> dict[str, Any]:
        """Return the accuracy of the exact level and the squared error over Var(y).

        `answers` has the true and the predicted level of up to 100 examples, sorted by the former.
        """
        inputs, labels = examples
        y, bias = self._split(labels)
        levels = self._level(network(inputs), bias)
        answers = levels_like(y)[levels]
        error = (answers - y).square().mean()
        some = y[:SHOWN].sort(stable=True).indices
        return {
            "level_accuracy": (levels == index(y)).to(y).mean().item(),
            "mse_over_variance": (error / y.var(correction=0)).item(),
            "answers": torch.stack((y[some], answers[some]), dim=1).tolist(),
        }

    def solution(self, target: Target) -> nn.Module:
        """Return a network with the true unit and outputs in the form of the approach's network."""
        network = relu_network(self.n, 1)
        zero = target["bias"] if self.start == "script" else torch.zeros(())
        with torch.no_grad():
            weights, bias = network.parameters()
            weights.copy_(target["weights"])
            bias.copy_(zero)
        if self.approach in ONE_UNIT:
            return network
        answer = _Answer(zero, one_hot=self.approach == "multi-class")
        return nn.Sequential(network, answer)

    def trivial(self, target: Target) -> nn.Module:
        """Return the constant answer of the most frequent level."""
        y, bias = self._split(self.sample(target, HELD_OUT, Draws(0))[1])
        value = torch.tensor(_frequent(y)[0])
        if self.approach == "multi-class":
            return Constant(functional.one_hot(index(value), len(LEVELS)).float())
        if isinstance(bias, Tensor):
            value += bias[0] + ROUNDING
        return Constant(value[None])


@functools.lru_cache(maxsize=64)
def _share_of_most_frequent(scenario: Steps, labels: Tensor) -> float:
    """Return the share of the most frequent level; cached, since every evaluation needs it."""
    return _frequent(scenario._split(labels)[0])[1]  # noqa: SLF001


def _frequent(labels: Tensor) -> tuple[float, float]:
    """Return the most frequent label and its share."""
    values, counts = labels.unique(return_counts=True)
    most = counts.argmax()
    return float(values[most]), float(counts[most]) / len(labels)


class _Answer(nn.Module):
    """Maps the true unit's sum to its level, as a value or as logits."""

    def __init__(self, zero: Tensor, *, one_hot: bool) -> None:
        super().__init__()
        self.zero, self.one_hot = zero, one_hot

    def forward(self, z: Tensor) -> Tensor:
        z = z - self.zero.to(z)
        if self.one_hot:
            return 10 * functional.one_hot(index(z[:, 0]), len(LEVELS)).to(z)
        return staircase(z) + self.zero.to(z)
