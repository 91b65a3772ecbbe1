"""Tuples of line images: end-to-end training where a decomposition works (section 3.1)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Factory, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import Constant, Parts, Weights, initialise, relu_network

APPROACHES = ("end-to-end", "decomposition")
NETWORKS = ("dense", "convolution")
SIDE = 28
REACH = 11
"""Most pixels of a line on either side of its centre: floor(23 / 2) for the longest, 23."""

SCRIPT_VARIANCES = (1 / 28, 1 / 16)
"""Variances of the weights of the script's two convolutions, before the cut at two deviations."""
STARTS = ("fan-in", "script")

HELD_OUT = 2000
CEILING = 0.9488
"""The best accuracy on one image. The sign of the covariance of the lit pixels' coordinates gives
the label without an error, except for the 10.24 % of 2,000,000 images without a covariance; for
these both labels are equally likely."""


@dataclass(frozen=True)
class LineTuples(Scenario):
    """Tell whether a tuple of k images holds an even number of lines that fall.

    An image is 28 x 28 and binary: a line of angle theta ~ U[0, pi] and length U[5, 23] about a
    uniformly random point; its label is +1 if theta < pi/2, else -1. A tuple's label is the product
    of its k labels. (The script's is (-1)^(k+1) times it: +1 for an odd number of +1.) As in the
    script, the pixels at centre +- t (cos theta, sin theta), t < floor(length / 2), are truncated
    toward zero and dropped outside of the image. Centres are real numbers: at whole ones an image
    could be labelled at 0.992 instead of 0.949.

    N1 scores each image, with shared weights; N2, dense 100, reads the sigmoids of the k scores.
    `end-to-end` trains on the hinge loss of the product alone, `decomposition` adds the mean hinge
    loss of the k scores. `n1="convolution"` is the paper's N1, without an activation after the
    convolutions as in the script; `"dense"` (784-50-100-1) costs a fraction and keeps the contrast.
    `start="fan-in"` draws every layer with standard deviation 1/sqrt(fan-in): 1/5 and 1/20 for the
    convolutions. `start="script"` draws these with 1/sqrt(28) (the script reads the wrong axis) and
    1/4 (one over the root of the input channels); it is of the convolution alone.

    The score is N2's accuracy, from 0 at chance to 1 at (1 + (2 a - 1)^k) / 2 with a = 0.9488, the
    best that single images allow. `details` adds N1's accuracy, folded about 1/2 since end-to-end
    it may learn -y, and the scale of its scores, which a saturated run shows.
    """

    approach: str = "end-to-end"
    k: int = 2
    n1: str = "dense"
    start: str = "fan-in"

    name: ClassVar[str] = "line-tuples"
    family: ClassVar[str] = "decomposition"
    section: ClassVar[str] = "3.1"
    ladder: ClassVar[tuple[str, ...]] = ("k",)
    claim: ClassVar[str] = (
        "decomposition reaches a good accuracy for every k, end-to-end stays at chance from k = 3"
    )
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        if self.approach not in APPROACHES or self.n1 not in NETWORKS:
            raise ValueError(
                f"choose approach from {', '.join(APPROACHES)} and n1 from {', '.join(NETWORKS)}: "
                f"{self}"
            )
        if self.k < 1:
            raise ValueError(f"need k >= 1: k={self.k}")
        if self.start not in STARTS or (self.start == "script" and self.n1 != "convolution"):
            raise ValueError(f"start {self.start!r}: fan-in, or with the convolutional N1 script")

    @property
    def setting(self) -> dict[str, Any]:
        """The fields that determine targets and data: only k, so all N1 get the same images."""
        return {"k": self.k}

    @property
    def published(self) -> str:
        """The script's Adam."""
        return "adam:lr=0.001,betas=(0.9,0.99),eps=1e-5"

    @property
    def ceiling(self) -> float:
        """The best accuracy on a tuple, if the best on an image is 0.9488."""
        return (1 + (2 * CEILING - 1) ** self.k) / 2

    def draw_target(self, draws: Draws) -> Target:  # noqa: ARG002
        """Return an empty target: the rule of the labels is fixed."""
        return {}

    def sample(self, target: Target, n: int, draws: Draws) -> Batch:  # noqa: ARG002
        """Draw images, shape `(n, k, 784)`, and labels `(n, 1 + k)`: the product, then each."""
        images, each = lines(n * self.k, draws)
        each = each.view(n, self.k)
        labels = torch.cat((each.prod(dim=1, keepdim=True), each), dim=1)
        return images.view(n, self.k, -1), labels

    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return 2000 fixed tuples."""
        return self.sample(target, HELD_OUT, draws)

    def network(self, draws: Draws) -> nn.Module:
        """Return a `TupleNetwork` of N1 and N2."""
        n1 = _convolution() if self.n1 == "convolution" else relu_network(SIDE**2, 50, 100, 1)
        network = initialise(TupleNetwork(n1, relu_network(self.k, 100, 1)), draws)
        if self.start == "script":
            convolutions = (m for m in n1.modules() if isinstance(m, nn.Conv2d))
            for layer, variance in zip(convolutions, SCRIPT_VARIANCES, strict=True):
                fan_in = layer.weight[0].numel()
                with torch.no_grad():
                    layer.weight.mul_((fan_in * variance) ** 0.5)
        return network

    def open_network(self, factory: Factory, draws: Draws) -> nn.Module | None:
        """Return the network with N1 built by `factory`; None for the convolutional N1."""
        if self.n1 != "dense":
            return None
        n1 = factory(input_shape=(1, SIDE, SIDE), output_size=1)
        image = nn.Unflatten(1, (1, SIDE, SIDE))
        n2 = initialise(relu_network(self.k, 100, 1), draws)
        return TupleNetwork(nn.Sequential(image, n1), n2)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the hinge loss of each tuple's product.

        Decomposition adds the mean hinge loss over the tuple's images.
        """
        hinge = (1 - labels * outputs).clamp(min=0)
        if self.approach == "decomposition":
            return hinge[:, 0] + hinge[:, 1:].mean(dim=1)
        return hinge[:, 0]

    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the accuracy of each tuple's sign, rescaled: 0 for chance, 1 for the ceiling."""
        right = ((labels[:, 0] * outputs[:, 0]).sign() + 1) / 2
        return (right - 0.5) / (self.ceiling - 0.5)

    @torch.no_grad()
    def details(self, network: nn.Module, examples: Batch) -> dict[str, Any]:
        """Return N1's accuracy folded about 1/2, and the root mean square of its scores."""
        scores, labels = network(examples[0])[:, 1:], examples[1][:, 1:]
        accuracy = (scores * labels > 0).to(labels).mean().item()
        return {
            "image_accuracy_folded": max(accuracy, 1 - accuracy),
            "score_rms": scores.square().mean().sqrt().item(),
        }

    def solution(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return a network for the signs of the lines' coordinate covariances and their product."""
        return _Covariance()

    def trivial(self, target: Target) -> nn.Module:  # noqa: ARG002
        """Return the constant +1: the labels are balanced."""
        return Constant(torch.ones(1 + self.k))


def lines(n: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """Draw n line images, shape `(n, 784)` in {0, 1}, and their labels, shape `(n,)`."""
    turn, length = draws.uniform(n, 1), draws.uniform(n, 1)
    centre = SIDE * draws.uniform(n, 2).double().T[:, :, None]
    half = ((5 + 18 * length.double()) / 2).floor()
    labels = 1 - 2 * (turn[:, 0] >= 1 / 2).to(turn)
    return draw(math.pi * turn.double(), half, centre, turn.dtype), labels


def draw(theta: Tensor, half: Tensor, centre: Tensor, dtype: torch.dtype) -> Tensor:
    """Return images of lines of angles `(n, 1)`, half lengths `(n, 1)` and centres `(2, n, 1)`.

    The images have shape `(n, 784)` and type `dtype`. Angles in float64 give the same pixels on
    every machine.
    """
    t = torch.arange(REACH, device=theta.device, dtype=theta.dtype)
    offsets = torch.stack((theta.cos(), theta.sin())) * t  # (2, n, REACH)
    row, column = torch.cat((centre + offsets, centre - offsets), dim=2).trunc().long()
    inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
    drawn = inside & (t < half).repeat(1, 2)
    end = len(theta) * SIDE**2  # pixels that are not drawn are written past the end
    first = torch.arange(0, end, SIDE**2, device=theta.device)[:, None]
    pixel = torch.where(drawn, first + row * SIDE + column, end)
    images = theta.new_zeros(end + 1, dtype=dtype).scatter_(0, pixel.flatten(), 1.0)
    return images[:-1].view(-1, SIDE**2)


class TupleNetwork(nn.Module):
    """Network that applies N1 to every image and N2 to the sigmoids of N1's scores."""

    def __init__(self, n1: nn.Module, n2: nn.Module) -> None:
        super().__init__()
        self.n1, self.n2 = n1, n2

    def forward(self, images: Tensor) -> Tensor:
        """Return N2's output and the k scores, shape `(n, 1 + k)`."""
        n, k = images.shape[:2]
        scores = self.n1(images.reshape(n * k, -1)).view(n, k)
        return torch.cat((self.n2(scores.sigmoid()), scores), dim=1)

    def stacked(self, images: Tensor, _: Weights, parts: Parts) -> Tensor:
        """Return `forward` of stacked trials, for images of shape `(trials, n, k, 784)`."""
        trials, n, k = images.shape[:3]
        scores = parts["n1"](images.reshape(trials, n * k, -1)).view(trials, n, k)
        return torch.cat((parts["n2"](scores.sigmoid()), scores), dim=2)


class ChannelsLast(nn.Conv2d):
    """Convolution with channels last on a CPU: three times as fast on one channel.

    Weights and their gradients stay contiguous, as an optimizer expects them.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return the convolution of images, shape `(n, channels, height, width)`."""
        if images.device.type != "cpu":
            return super().forward(images)
        weight = self.weight.flatten(1).view_as(self.weight)  # else its gradient has other strides
        weight = weight.clone(memory_format=torch.channels_last)
        return nn.functional.conv2d(images, weight, self.bias, padding=self.padding)


def _convolution() -> nn.Module:
    convolutions = (
        *(nn.Unflatten(1, (1, SIDE, SIDE)), ChannelsLast(1, 16, 5, padding=2), nn.MaxPool2d(2)),
        *(ChannelsLast(16, 16, 5, padding=2), nn.MaxPool2d(2), nn.Flatten()),
    )
    return nn.Sequential(*convolutions, relu_network(7 * 7 * 16, 50, 100, 1))


class _Covariance(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        row = torch.arange(SIDE, device=images.device, dtype=images.dtype)
        row, column = row.repeat_interleave(SIDE), row.repeat(SIDE)
        mass = images.sum(-1).clamp(min=1)
        means = (images @ row / mass) * (images @ column / mass)
        covariance = images @ (row * column) / mass - means
        scores = torch.where(covariance >= -1e-3, 1.0, -1.0).to(images)
        return torch.cat((scores.prod(dim=1, keepdim=True), scores), dim=1)
