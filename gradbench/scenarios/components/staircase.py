"""The staircase u of section 5, with a chosen backward gain, and its smooth approximation."""

import functools
from typing import Any

import torch
from torch import Tensor

LEVELS: list[float] = sorted(
    {*range(-100, 100, 5), -5, -4, -3, -2, -1, -0.2, 0, 0.1, 0.15, 0.175, 1, 2, 3, 4, 5}
)
"""The script's 52 levels minus b*. The script lists 55; three are duplicates, which would cause a
division by zero in the non-flat approximation, and it drops them."""


@functools.cache
def _levels(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(LEVELS, dtype=dtype, device=device)


def levels_like(values: Tensor) -> Tensor:
    """Return the levels, shape `(52,)`, with the dtype and device of `values`."""
    return _levels(values.dtype, values.device)


def index(values: Tensor) -> Tensor:
    """Return the index of the level to which each value rounds down; 0 below all levels."""
    levels = levels_like(values)
    return (torch.bucketize(values.detach().contiguous(), levels, right=True) - 1).clamp(min=0)


def staircase(z: Tensor) -> Tensor:
    """Return u(z): the highest level that is not above z, or the lowest where all are above."""
    # an extra dimension: before torch 2.7, vmap does not support an index without dimensions
    return levels_like(z)[index(z)[..., None]][..., 0]


class Staircase(torch.autograd.Function):
    """Autograd function: u(z) forward; backward the message times a gain, not u's derivative, 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, gain: Tensor) -> Tensor:  # noqa: ARG004
        """Return u(z); `gain` has the shape of z."""
        return staircase(z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ANN401, ARG004
        """Save the gain for the backward pass."""
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, message: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """Return the message times the gain."""
        (gain,) = ctx.saved_tensors
        return message * gain, None


def _gaps(z: Tensor) -> tuple[Tensor, Tensor]:
    levels = levels_like(z)
    return levels[1:], levels.diff()


def sigmoids(z: Tensor, steepness: float, shift: float = 0.0) -> Tensor:
    """Return z_0 + sum_i g_i sigmoid(steepness (z - z_i + shift g_i) / g_i), an approximation of u.

    z_i are the levels and g_i = z_i - z_{i-1}. The script has steepness 50 and shift 1/20 (5.2).
    """
    levels, gaps = _gaps(z)
    climbed: Tensor = (((z[..., None] - levels) / gaps + shift) * steepness).sigmoid()
    return LEVELS[0] + (gaps * climbed).sum(-1)


def sigmoid_slope(z: Tensor, steepness: float) -> Tensor:
    """Return the derivative of `sigmoids` at z, for a shift of 0."""
    levels, gaps = _gaps(z)
    s: Tensor = (((z.detach()[..., None] - levels) / gaps) * steepness).sigmoid()
    return steepness * (s * (1 - s)).sum(-1)
