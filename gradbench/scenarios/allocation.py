"""Allocating an investment over k stocks: two estimators of one gradient (section 3.2)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradbench.scenarios.base import Batch, Factory, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import Constant, initialise

APPROACHES = ("end-to-end", "decomposition")


@dataclass(frozen=True)
class Allocation(Scenario):
    """Put one's money on the stock that will rise, among k, given one of d situations.

    x is one of d unit vectors, each with a fixed random stock y(x); z in {-1, +1}^k has
    z_{y(x)} = +1 and fair signs elsewhere. The network is softmax(W x + b) and the loss to be
    lowered E[-<z, p(x)>], whose optimum is -1. `end-to-end` follows the gradient of -<z, p(x)>,
    `decomposition` that of -p(x)_{y(x)}: both are unbiased for the same gradient, but at the start
    the second moment of the former is about k times larger (equations 2 and 3).

    The score is the exact expectation E p(x)_{y(x)} over all d inputs, 0 for the uniform
    allocation and 1 for the right one; no sample of z enters. The script evaluates the sampled
    loss on 500 examples instead.

    `scale` multiplies the loss. Gradients at the start are of size scale / (B k) for batches of B,
    so an optimizer that divides by sqrt(v) + eps meets an eps that is 1 / scale times larger, and
    one whose steps do not depend on the loss's scale meets no difference. Whether end-to-end ends
    on the plateau of figure 4 depends on this: the script's eps of 1e-5 is scale 1e-3 under torch's
    default of 1e-8. (The script's Adam adds eps before the correction of bias, torch's
    after.)
    """

    approach: str = "end-to-end"
    d: int = 1000
    k: int = 10
    scale: float = 1.0

    name: ClassVar[str] = "allocation"
    family: ClassVar[str] = "decomposition"
    section: ClassVar[str] = "3.2"
    ladder: ClassVar[tuple[str, ...]] = ("d", "k")
    claim: ClassVar[str] = (
        "decomposition nears the optimum for every k, end-to-end ends worse with k"
    )
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES:
            raise ValueError(f"approach {self.approach!r}: choose from {', '.join(APPROACHES)}")
        if self.d < 1 or self.k < 2 or not 0 < self.scale < math.inf:
            raise ValueError(f"need d >= 1, k >= 2 and scale > 0: {self}")

    @property
    def setting(self) -> dict[str, Any]:
        """The fields that determine targets and data; the loss's scale does not."""
        return {"d": self.d, "k": self.k}

    @property
    def published(self) -> str:
        """The script's Adam, with eps in proportion to the size of the gradient.

        Entries of the gradient are of size 1 / (B k), so eps decides which of them count. The
        script's 1e-5 belongs to d = 1000 and B = 100; batches here hold d / 10 examples.
        """
        return f"adam:lr=0.1,betas=(0.9,0.99),eps={0.01 / self.d:g}"

    def draw_target(self, draws: Draws) -> Target:
        """Return `stock`, y(x) for each input, shape `(d,)`, below k."""
        return {"stock": draws.integers(self.k, self.d)}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:
        """Draw x, shape `(n, d)`, and labels `(n, k + 1)`: z, then y(x)."""
        chosen = draws.integers(self.d, n)
        signs = draws.bits(n, self.k) * 2 - 1
        stock = target["stock"][chosen]
        signs.scatter_(1, stock[:, None], 1)
        return self._example(chosen, signs, stock)

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return all d inputs, with E z instead of z, which makes the loss exact."""
        stock = target["stock"].to(draws.device)
        expected = functional.one_hot(stock, self.k)
        return self._example(torch.arange(self.d, device=draws.device), expected, stock)

    def _example(self, chosen: Tensor, signs: Tensor, stock: Tensor) -> Batch:
        dtype = torch.get_default_dtype()
        # half precision would round the stock's index
        exact = dtype if dtype == torch.float64 else torch.float32
        labels = torch.cat((signs, stock[:, None]), dim=1).to(exact)
        return functional.one_hot(chosen, self.d).to(dtype), labels

    def network(self, draws: Draws) -> nn.Module:
        """Return one linear layer; the softmax belongs to the loss."""
        return initialise(nn.Linear(self.d, self.k), draws)

    def open_network(self, factory: Factory, draws: Draws) -> nn.Module | None:  # noqa: ARG002
        """Return a network from d numbers to k scores, built by `factory`."""
        return factory(input_shape=(self.d,), output_size=self.k)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return -<z, p> of each example, or -p_y under decomposition, times the scale."""
        if self.approach == "decomposition":
            return -self.scale * self._right(outputs, labels)
        return -self.scale * (labels[:, :-1] * outputs.softmax(dim=1)).sum(dim=1)

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return p_y of each example, rescaled: 0 for the uniform allocation, 1 for p_y = 1."""
        return (self._right(outputs, labels) - 1 / self.k) / (1 - 1 / self.k)

    def _right(self, outputs: Tensor, labels: Tensor) -> Tensor:
        stock = labels[:, -1:].long()
        return outputs.softmax(dim=1).gather(1, stock)[:, 0]

    def solution(self, target: Target) -> nn.Module:
        """Return a linear layer with weights that put nearly everything on the right stock."""
        network = nn.Linear(self.d, self.k)
        with torch.no_grad():
            network.weight.copy_(30.0 * functional.one_hot(target["stock"], self.k).T)
            network.bias.zero_()
        return network

    def trivial(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return the uniform allocation."""
        return Constant(torch.zeros(self.k))
