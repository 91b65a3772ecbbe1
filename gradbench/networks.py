"""The paper's networks. Weights are drawn from torch's global generator, which a trial seeds."""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

Weights = dict[str, Tensor]
"""A module's own parameters in a stack of trials, each with a leading dimension of trials."""

Parts = dict[str, Callable[[Tensor], Tensor]]
"""A module's children in a stack of trials."""


class Constant(nn.Module):
    """Answers every input with the same outputs, shape `(k,)`."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, shape `(n, k)` for n inputs."""
        return self.outputs.to(inputs).expand(len(inputs), -1)


def truncated_normal_(layer: nn.Linear) -> nn.Linear:
    """Initialise as the authors' script: normal of std 1/sqrt(fan_in) cut at two std, zero bias."""
    std = layer.in_features**-0.5
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    nn.init.zeros_(layer.bias)
    return layer


def relu_network(*widths: int) -> nn.Sequential:
    """Return dense layers of these widths, a ReLU between each two, a linear output.

    `relu_network(10, 100, 1)` maps `(n, 10)` to `(n, 1)`.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [truncated_normal_(nn.Linear(fan_in, fan_out)), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
