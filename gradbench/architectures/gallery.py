"""Architectures that can replace a case's own network, by name.

Each takes the shape of one example and the number of outputs, as a user's own architecture does.
Inputs of several dimensions (an image) are flattened, except by the transformer.
"""

import math

import torch
from torch import Tensor, nn

from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import Parts, Weights, initialise, relu_network


def mlp(
    *, input_shape: tuple[int, ...], output_size: int, width: int = 128, depth: int = 2
) -> nn.Module:
    """Return `depth` hidden ReLU layers of one width, initialised as the paper's networks."""
    size = math.prod(input_shape)
    draws = Draws(int(torch.randint(2**62, ())))
    layers = relu_network(size, *[width] * depth, output_size)
    return nn.Sequential(nn.Flatten(), initialise(layers, draws))


def residual(
    *, input_shape: tuple[int, ...], output_size: int, width: int = 128, depth: int = 4
) -> nn.Module:
    """Return `depth` blocks x + W relu(V x) of one width (He et al., arXiv:1512.03385).

    W starts at zero, so that the whole starts as a linear map (Zhang et al., arXiv:1901.09321).
    """
    blocks = [Residual(nn.Identity(), _branch(width)) for _ in range(depth)]
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(input_shape), width),
        *blocks,
        nn.Linear(width, output_size),
    )


def normalised(
    *, input_shape: tuple[int, ...], output_size: int, width: int = 128, depth: int = 2
) -> nn.Module:
    """Return hidden layers with layer norm before each ReLU (Ba et al., arXiv:1607.06450)."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(input_shape)
    for _ in range(depth):
        layers += [nn.Linear(size, width), nn.LayerNorm(width), nn.ReLU()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, output_size))


def sinusoidal(
    *,
    input_shape: tuple[int, ...],
    output_size: int,
    width: int = 128,
    depth: int = 1,
    frequency: float = 1.0,
) -> nn.Module:
    """Return hidden layers sin(frequency (W x + b)) (SIREN: Sitzmann et al., arXiv:2006.09661).

    Weights are uniform within sqrt(6 / fan_in) / frequency, in the first layer within
    sqrt(6 / fan_in), so that standard normal inputs give phases of standard deviation
    sqrt(2) frequency before b is added. The phases of b cover one period.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(input_shape)
    for index in range(depth):
        layer = nn.Linear(size, width)
        bound = math.sqrt(6 / size) / (frequency if index else 1.0)
        nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.uniform_(layer.bias, -math.pi / frequency, math.pi / frequency)
        layers += [layer, Sine(frequency)]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, output_size))


def transformer(  # noqa: PLR0913  # its sizes are what it is asked for by
    *,
    input_shape: tuple[int, ...],
    output_size: int,
    width: int = 32,
    depth: int = 2,
    heads: int = 4,
    patch: int = 7,
) -> nn.Module:
    """Return a pre-norm transformer over bits or image patches, with the mean of its tokens.

    Each token is a linear map of its number or patch, and learned positions are added (Vaswani et
    al., arXiv:1706.03762; Dosovitskiy et al., arXiv:2010.11929).
    """
    cut = Patches(input_shape, patch)
    blocks = []
    for _ in range(depth):
        blocks.append(Residual(nn.LayerNorm(width), Attention(width, heads)))
        blocks.append(Residual(nn.LayerNorm(width), _branch(width, 4 * width)))
    return nn.Sequential(
        cut,
        nn.Linear(cut.size, width),
        Positions(cut.count, width),
        *blocks,
        nn.LayerNorm(width),
        Mean(),
        nn.Linear(width, output_size),
    )


def _branch(width: int, hidden: int | None = None) -> nn.Module:
    hidden = width if hidden is None else hidden
    last = nn.Linear(hidden, width)
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), last)


class Residual(nn.Module):
    """x + branch(norm(x))."""

    def __init__(self, norm: nn.Module, branch: nn.Module) -> None:
        super().__init__()
        self.norm, self.branch = norm, branch

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum, in the input's shape."""
        added: Tensor = x + self.branch(self.norm(x))
        return added

    def stacked(self, x: Tensor, _: Weights, parts: Parts) -> Tensor:
        """As `forward`, with a leading dimension of trials."""
        added: Tensor = x + parts["branch"](parts["norm"](x))
        return added


class Sine(nn.Module):
    """sin(frequency x)."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency

    def forward(self, x: Tensor) -> Tensor:
        """Return the sines, in the input's shape."""
        return (self.frequency * x).sin()

    def stacked(self, x: Tensor, _: Weights, __: Parts) -> Tensor:
        """As `forward`, with a leading dimension of trials."""
        return self.forward(x)


class Patches(nn.Module):
    """A vector's numbers, or an image's patches, as tokens: `(n, count, size)`.

    Raises ValueError where the patches do not fill the image.
    """

    def __init__(self, shape: tuple[int, ...], patch: int) -> None:
        super().__init__()
        self.image, self.patch = len(shape) > 1, patch
        if self.image and any(side % patch for side in shape[-2:]):
            raise ValueError(f"patches of {patch} do not fill an image of {shape[-2:]}")
        self.size = math.prod(shape[:-2]) * patch**2 if self.image else 1
        self.count = math.prod(shape) // self.size

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens."""
        if not self.image:
            return x[:, :, None]
        x = x.unfold(-2, self.patch, self.patch).unfold(-2, self.patch, self.patch)
        return x.flatten(-4, -3).movedim(-3, 1).flatten(2)


class Positions(nn.Module):
    """Adds a learned vector to each token."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.position = nn.Parameter(0.02 * torch.randn(count, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums, in the input's shape."""
        return x + self.position


class Attention(nn.Module):
    """Self-attention of every token to every token."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not share a width of {width}")
        self.heads = heads
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended tokens, in the input's shape."""
        n, count, width = x.shape
        split = self.mix(x).view(n, count, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        weights = (queries @ keys.transpose(-1, -2) / math.sqrt(width / self.heads)).softmax(-1)
        found: Tensor = self.out((weights @ values).transpose(1, 2).reshape(n, count, width))
        return found


class Mean(nn.Module):
    """The tokens' mean."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean, shape `(n, width)`."""
        return x.mean(dim=1)
