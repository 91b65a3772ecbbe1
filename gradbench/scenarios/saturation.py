"""Deep sigmoids and dying ReLUs: flat regions from depth or bias (beyond the paper's section 5)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import Constant, initialise, relu_network

APPROACHES = ("sigmoid", "dying")
HELD_OUT = 4096
WIDTH = 32
PREACTIVATION_STD = 0.8796
"""Standard deviation of a first-layer sum, equal to that of a standard normal cut at two."""

GENTLE = 0.1
"""Scale of the values in the known solution: sigmoids are nearly linear near 0."""


@dataclass(frozen=True)
class Saturation(Scenario):
    """Learn a linear function with a network that begins in a flat region of its loss.

    y = <v*, x>, v* uniform on the unit sphere of R^n, x standard normal; square loss
    (p - y)^2 / 2; the score is 1 - MSE / Var(y), and Var(y) = 1. Nothing about the target is hard.

    `sigmoid` has `depth` hidden layers of 32 sigmoids, each of which shrinks the message backwards
    by 1/4 or more. `dying` has one layer of 10 n ReLUs whose biases begin `bias` standard
    deviations of their input below zero: at 0 half of them respond to an input, at 6 one in 10^9.

    The paper has no such experiment; it asks for flat activations in general (section 5).
    """

    approach: str = "sigmoid"
    n: int = 10
    depth: int = 2
    bias: float = 0.0

    name: ClassVar[str] = "saturation"
    family: ClassVar[str] = "flatness"
    section: ClassVar[str] = "5, beyond"
    ladder: ClassVar[tuple[str, ...]] = ("depth", "bias")
    claim: ClassVar[str] = (
        "where the start is flat enough, no step along the gradient leads out of it"
    )
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES:
            raise ValueError(f"approach {self.approach!r}: choose from {', '.join(APPROACHES)}")
        if self.n < 1 or self.depth < 1 or self.bias < 0:
            raise ValueError(f"need n >= 1, depth >= 1 and bias >= 0: {self}")

    def draw_target(self, draws: Draws) -> Target:
        """Return `direction`, v*, shape `(n,)`."""
        v = draws.normal(self.n).double()
        return {"direction": (v / v.norm()).to(torch.get_default_dtype())}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:
        """Draw x, shape `(n, self.n)`, and y, shape `(n,)`."""
        x = draws.normal(n, self.n)
        return x, (x.double() @ target["direction"].double()).to(x)

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return 4096 fixed examples."""
        return self.sample(target, HELD_OUT, draws)

    def network(self, draws: Draws) -> nn.Module:
        """Return the network at its flat start."""
        network = initialise(self._layers(), draws)
        if self.approach == "dying":
            nn.init.constant_(list(network.parameters())[1], -self.bias * PREACTIVATION_STD)
        return network

    def _layers(self) -> nn.Module:
        if self.approach == "dying":
            return relu_network(self.n, 10 * self.n, 1)
        layers: list[nn.Module] = []
        for fan_in in [self.n] + [WIDTH] * (self.depth - 1):
            layers += [nn.Linear(fan_in, WIDTH), nn.Sigmoid()]
        return nn.Sequential(*layers, nn.Linear(WIDTH, 1))

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the square loss (p - y)^2 / 2 of each example."""
        return (outputs[:, 0] - labels).square() / 2

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - (p - y)^2 of each example; Var(y) = 1."""
        return 1 - (outputs[:, 0] - labels).square()

    def solution(self, target: Target) -> nn.Module:
        """Return the same network with weights that solve the target.

        ReLUs use z = relu(z) - relu(-z). Sigmoids use one unit per layer, which passes on
        p = z / 10 through 4 sigmoid(p) - 2 = p - p^3/12 + ...; the last weight undoes the scale.
        """
        network = self._layers()
        with torch.no_grad():
            parameters = list(network.parameters())
            for parameter in parameters:
                parameter.zero_()
            if self.approach == "dying":
                parameters[0][:2] = torch.stack((target["direction"], -target["direction"]))
                parameters[2][0, :2] = torch.tensor([1.0, -1.0])
                return network
            parameters[0][0] = GENTLE * target["direction"]
            for weight, bias in zip(parameters[2:-2:2], parameters[3:-2:2], strict=True):
                weight[0, 0] = 4.0
                bias[0] = -2.0
            parameters[-2][0, 0] = 4.0 / GENTLE
            parameters[-1].fill_(-2.0 / GENTLE)
        return network

    def trivial(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return the constant 0, the mean of y."""
        return Constant(torch.zeros(1))
