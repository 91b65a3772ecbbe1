"""The staircase u of section 5: forward, with any gain backward, and smooth in its place."""

import functools
from typing import Any

import torch
from torch import Tensor

LEVELS: list[float] = sorted(
    {*range(-100, 100, 5), -5, -4, -3, -2, -1, -0.2, 0, 0.1, 0.15, 0.175, 1, 2, 3, 4, 5}
)
"""The script's levels less b*: 52. It writes 55 and drops three duplicates, which would divide by
zero in the non-flat approximation."""


@functools.cache
def _levels(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(LEVELS, dtype=dtype, device=device)


def levels_like(values: Tensor) -> Tensor:
    """Return the levels, shape `(52,)`, in the type and on the device of these values."""
    return _levels(values.dtype, values.device)


def index(values: Tensor) -> Tensor:
    """Return the number of the level that each value rounds down to."""
    levels = levels_like(values)
    return (torch.bucketize(values.detach().contiguous(), levels, right=True) - 1).clamp(min=0)


def staircase(z: Tensor) -> Tensor:
    """u(z): the highest level that is not above z; below all levels, the lowest."""
    # with one dimension more: before torch 2.7, vmap takes no single number for an index
    return levels_like(z)[index(z)[..., None]][..., 0]


class Staircase(torch.autograd.Function):
    """u(z) forward; backward, the message times a given gain instead of u's own zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, gain: Tensor) -> Tensor:  # noqa: ARG004
        """Return u(z); `gain` has the shape of z."""
        return staircase(z)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ANN401, ARG004
        """Keep the gain."""
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
    """Approximate u: z_0 + sum_i g_i sigmoid(steepness (z - z_i + shift g_i) / g_i).

    g_i = z_i - z_{i-1}. The script has steepness 50 and shift 1/20 (5.2).
    """
    levels, gaps = _gaps(z)
    climbed: Tensor = (((z[..., None] - levels) / gaps + shift) * steepness).sigmoid()
    return LEVELS[0] + (gaps * climbed).sum(-1)


def sigmoid_slope(z: Tensor, steepness: float) -> Tensor:
    """Return the derivative of `sigmoids` at z."""
    levels, gaps = _gaps(z)
    s: Tensor = (((z.detach()[..., None] - levels) / gaps) * steepness).sigmoid()
    return steepness * (s * (1 - s)).sum(-1)
