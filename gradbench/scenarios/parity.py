"""Random parities: gradients that carry no information about the target (section 2.1)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Factory, Scenario, Target
from gradbench.scenarios.components.elimination import Elimination
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import Constant, initialise, relu_network

APPROACHES = ("gradient", "elimination")
EXHAUSTIVE = 12
"""Largest d for which the held-out set is all 2^d inputs."""

HELD_OUT = 10_240
"""Held-out examples for larger d; a random answer's normalised score has deviation 1/sqrt(n)."""


@dataclass(frozen=True)
class Parity(Scenario):
    """The parity of `weight` out of `d` random bits, at random positions.

    h(x) = prod_{i in S} x_i with x uniform on {-1, +1}^d, S a uniformly random set of size
    `weight`; hinge loss; one ReLU layer of width 10 d. The score is the accuracy.

    The text draws x from {0, 1}^d with y = (-1)^<x, v*>; the authors' script feeds {-1, +1}^d, the
    same functions of centred inputs, as `inputs="signs"` does; `"bits"` feeds the text's {0, 1} of
    the same examples. The script takes S as a prefix of random length; here |v*| is fixed, since it
    decides the difficulty: 2 or 3 is easy at any d, d/2 is hopeless at d = 30.

    `elimination` takes no optimizer: it solves for S over GF(2), which d + 20 examples determine.
    """

    d: int
    weight: int
    approach: str = "gradient"
    inputs: str = "signs"

    name: ClassVar[str] = "parity"
    family: ClassVar[str] = "uninformative"
    section: ClassVar[str] = "2.1"
    ladder: ClassVar[tuple[str, ...]] = ("d", "weight")
    claim: ClassVar[str] = "d = 5 and d = 10 are learned, d = 30 stays at chance"
    chance: ClassVar[float] = 0.5
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES:
            raise ValueError(f"approach {self.approach!r}: choose from {', '.join(APPROACHES)}")
        if self.inputs not in {"signs", "bits"}:
            raise ValueError(f"inputs {self.inputs!r}: signs or bits")
        if self.inputs == "bits" and self.approach == "elimination":
            raise ValueError("elimination takes signs")
        if not 1 <= self.weight <= self.d:
            raise ValueError(f"need 1 <= weight <= d: weight={self.weight}, d={self.d}")

    @property
    def setting(self) -> dict[str, Any]:
        """The fields that determine targets and data; both kinds of inputs are of the same bits."""
        return {"d": self.d, "weight": self.weight}

    @property
    def published(self) -> str:
        """Plain SGD at the script's rate."""
        return "sgd:lr=0.01"

    def draw_target(self, draws: Draws) -> Target:
        """Return `support`, the sorted positions S, shape `(weight,)`."""
        return {"support": draws.permutation(self.d)[: self.weight].sort().values}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:
        """Draw x, shape `(n, d)` in {-1, +1} or {0, 1}, and y, shape `(n,)`."""
        return self._label(draws.bits(n, self.d), target)

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return all 2^d inputs up to d = 12, else 10,240 random ones."""
        if self.d > EXHAUSTIVE:
            return self.sample(target, HELD_OUT, draws)
        counter = torch.arange(2**self.d, device=draws.device)
        bits = (counter[:, None] >> torch.arange(self.d, device=draws.device)) & 1
        return self._label(bits, target)

    def _label(self, bits: Tensor, target: Target) -> Batch:
        signs = bits.to(torch.get_default_dtype()).mul_(-2).add_(1)
        labels = signs[:, target["support"]].prod(dim=1)
        return signs if self.inputs == "signs" else (1 - signs) / 2, labels

    def network(self, draws: Draws) -> nn.Module:
        """Return the paper's network, d - 10 d - 1, or the learner for elimination."""
        if self.approach == "elimination":
            return Elimination(self.d)
        return initialise(relu_network(self.d, 10 * self.d, 1), draws)

    def open_network(self, factory: Factory, draws: Draws) -> nn.Module | None:  # noqa: ARG002
        """Return a network from d numbers to one, built by `factory`; None for elimination."""
        if self.approach == "elimination":
            return None
        return factory(input_shape=(self.d,), output_size=1)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the hinge loss max(0, 1 - y p) of each example."""
        return (1 - labels * outputs[:, 0]).clamp(min=0)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the accuracy of each output's sign; an output of exactly 0 counts one half."""
        return ((labels * outputs[:, 0]).sign() + 1) / 2

    def solution(self, target: Target) -> nn.Module:
        """Return the paper's network with weights that compute the parity (lemma 3, corrected).

        With c = the number of -1 among the support, relu(c-j+1) - 2 relu(c-j) + relu(c-j-1) is 1
        at c = j and 0 at every other integer. Twice the sum over even j, less 1, is the parity.
        The lemma as printed omits j = 0, so its result is wrong where c = 0.
        """
        shifts = torch.arange(0, self.weight + 1, 2)[:, None] + torch.tensor([-1.0, 0.0, 1.0])
        units = shifts.numel()
        network = relu_network(self.d, 10 * self.d, 1)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
            hidden, hidden_bias, output, output_bias = network.parameters()
            # c = (|S| - sum of signs) / 2, which is the sum of bits
            signs = self.inputs == "signs"
            hidden[:units, target["support"].cpu()] = -0.5 if signs else 1.0
            hidden_bias[:units] = (self.weight / 2 if signs else 0.0) - shifts.flatten()
            output[0, :units] = torch.tensor([2.0, -4.0, 2.0]).repeat(len(shifts))
            output_bias.fill_(-1.0)
        return network

    def trivial(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return the constant +1: a parity is balanced, so no constant is better than another."""
        return Constant(torch.ones(1))
