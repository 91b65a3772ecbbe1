"""The paper's networks and the random initialisation of their weights."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from gradbench.scenarios.draws import Draws

Weights = dict[str, Tensor]
"""A module's own parameters by name, each with a leading dimension of stacked trials."""

Parts = dict[str, Callable[[Tensor], Tensor]]
"""A module's children by name, each as a function of inputs with a leading dimension of trials."""


class Constant(nn.Module):
    """A network with the same outputs, shape `(k,)`, for every input."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, shape `(n, k)` for n inputs."""
        return self.outputs.to(inputs).expand(len(inputs), -1)


@torch.no_grad()
def initialise(network: nn.Module, draws: Draws) -> nn.Module:
    """Draw the weights of all linear and convolutional layers, in their order; return the network.

    As the authors' script: normal of standard deviation 1/sqrt(fan_in), cut at two; zero biases.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            fan_in = layer.weight[0].numel()
            layer.weight.copy_(draws.truncated_normal(*layer.weight.shape) * fan_in**-0.5)
            if layer.bias is not None:
                layer.bias.zero_()
    return network


def relu_network(*widths: int) -> nn.Sequential:
    """Return dense layers of these widths, with a ReLU between successive layers.

    `relu_network(10, 100, 1)` maps `(n, 10)` to `(n, 1)`. `initialise` draws its weights.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
