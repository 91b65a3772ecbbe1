"""Linear-periodic functions: gradients that vanish with the frequency (section 2, theorem 2)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Factory, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import Constant, initialise, relu_network

HELD_OUT = 4096
WAVES = ("cosine", "square")
TAIL = 4.5
"""Range of the known solution in standard deviations of <v*, x>; 7e-6 of the inputs lie outside."""


@dataclass(frozen=True)
class Periodic(Scenario):
    """A wave of one hidden direction: h(x) = psi(<v*, x>), x standard normal in d dimensions.

    v* is uniform on the sphere of radius `r`; psi is cos, or its sign (`wave="square"`), of period
    2 pi. Square loss; one ReLU layer of width 10 d. The score is 1 - MSE / Var(h), 0 for the best
    constant: below r = 1 the target is nearly constant, so its own variance is the measure.

    The paper states theorem 2 (after Shamir 2016) for any periodic psi and smooth density and
    trains nothing here; the wave, the normal density and the network are this file's choice.
    """

    d: int
    r: float
    wave: str = "cosine"

    name: ClassVar[str] = "periodic"
    family: ClassVar[str] = "uninformative"
    section: ClassVar[str] = "2.2"
    ladder: ClassVar[tuple[str, ...]] = ("d", "r")
    claim: ClassVar[str] = "the gradient's variance over targets falls exponentially in d and r"
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.d < 1 or self.r <= 0 or self.wave not in WAVES:
            raise ValueError(f"need d >= 1, r > 0 and wave one of {', '.join(WAVES)}: {self}")

    @property
    def mean(self) -> float:
        """The mean E h in closed form: <v*, x> is normal with standard deviation r.

        E cos(n z) = exp(-n^2 r^2 / 2); the square wave by its Fourier series
        (4 / pi) sum_k (-1)^k cos((2k+1) z) / (2k+1).
        """
        if self.wave == "cosine":
            return math.exp(-self.r * self.r / 2)
        odd = range(1, 2 * math.ceil(8 / self.r) + 4, 2)
        terms = [(-1) ** (n // 2) / n * math.exp(-n * n * self.r * self.r / 2) for n in odd]
        return 4 / math.pi * math.fsum(terms)

    @property
    def variance(self) -> float:
        """The variance Var(h) in closed form; E cos^2 = (1 + exp(-2 r^2)) / 2."""
        square = 1.0 if self.wave == "square" else (1 + math.exp(-2 * self.r * self.r)) / 2
        return square - self.mean**2

    def draw_target(self, draws: Draws) -> Target:
        """Return `direction`, the vector v* of length r, shape `(d,)`."""
        v = draws.normal(self.d).double()
        return {"direction": (self.r * v / v.norm()).to(torch.get_default_dtype())}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:
        """Draw x, shape `(n, d)`, and h(x), shape `(n,)`."""
        x = draws.normal(n, self.d)
        y = (x.double() @ target["direction"].double()).cos()
        return x, (y if self.wave == "cosine" else y.sign()).to(x)

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return 4096 fixed examples."""
        return self.sample(target, HELD_OUT, draws)

    def network(self, draws: Draws) -> nn.Module:
        """Return a network d - 10 d - 1, as for parities."""
        return initialise(relu_network(self.d, 10 * self.d, 1), draws)

    def open_network(self, factory: Factory, draws: Draws) -> nn.Module | None:  # noqa: ARG002
        """Return a network from d numbers to one, built by `factory`."""
        return factory(input_shape=(self.d,), output_size=1)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the square loss (p - y)^2 / 2 of each example."""
        return (outputs[:, 0] - labels).square() / 2

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - (p - y)^2 / Var(h) of each example."""
        return 1 - (outputs[:, 0] - labels).square() / self.variance

    def trivial(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return the constant E h, whose squared error is Var(h)."""
        return Constant(torch.tensor([self.mean]))

    def solution(self, target: Target) -> nn.Module:
        """Return the network with weights that interpolate psi along v* at evenly spaced knots.

        The coefficient of the unit relu(z - knot) is the change of slope at its knot. There are
        10 d knots, which is enough if there are about six in a period of the wave.
        """
        knots = torch.linspace(-TAIL * self.r, TAIL * self.r, 10 * self.d + 1)
        values = knots.cos() if self.wave == "cosine" else knots.cos().sign()
        slopes = values.diff() / knots.diff()
        changes = torch.cat((slopes[:1], slopes.diff()))
        network = relu_network(self.d, 10 * self.d, 1)
        with torch.no_grad():
            hidden, hidden_bias, output, output_bias = network.parameters()
            hidden.copy_(target["direction"].cpu().expand_as(hidden))
            hidden_bias.copy_(-knots[:-1])
            output.copy_(changes)
            output_bias.copy_(values[:1])
        return network
