"""The problems on which two optimizers are compared: parameters of many kinds, and losses."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Parameters = dict[str, nn.Parameter]
Loss = Callable[[Mapping[str, Tensor], int], Tensor]
"""Returns the loss of named parameters at a step, counted from 0."""

MATRICES = {"wide": (3, 8), "tall": (8, 3)}
"""What optimizers that refuse all else can step on."""

LATER = 10
"""The step before which a problem's last parameter is added, where one is."""

UNUSED = "unused"
"""Name of the parameter that no loss depends on."""


@dataclass(frozen=True)
class Problem:
    """Named parameters and a loss of each step.

    `make(dtype)` returns the parameters; they have the same values whenever it is called. Those in
    `second` form a second parameter group with another learning rate, that in `later` is added
    before step `LATER`.
    """

    name: str
    make: Callable[[torch.dtype], Parameters]
    loss: Loss
    second: tuple[str, ...] = ()
    later: str = ""


@functools.cache
def problems() -> tuple[Problem, ...]:
    """Return the problems: all losses on plain shapes, then odd shapes, groups and a network."""
    plain = {"vector": (7,), **MATRICES, "kernel": (2, 3, 3, 2)}
    return (
        Problem("quadratic", lambda dtype: _shaped(plain, dtype), quadratic),
        Problem("different scales", lambda dtype: _shaped(plain, dtype), different_scales),
        Problem("matrices", lambda dtype: _shaped(MATRICES, dtype), quadratic),
        Problem("sparse in time", lambda dtype: _shaped(plain, dtype), sparse_in_time),
        Problem("odd shapes", odd_shapes, quadratic),
        Problem(
            "groups",
            lambda dtype: _shaped({"first": (5,), "second": (4, 3), "later": (5,)}, dtype),
            quadratic,
            second=("second",),
            later="later",
        ),
        Problem("parity network", _network, parity),
    )


def problem_named(name: str) -> Problem:
    """Return the problem of a name."""
    return next(each for each in problems() if each.name == name)


@functools.lru_cache(maxsize=8192)
def values(name: str, *shape: int) -> Tensor:
    """Return fixed numbers in [-1, 1] that depend on a name and a place, in float64.

    The tensor is shared by all calls, so it must not be written to.
    """
    offset = sum(ord(letter) * 7.13**k % 97 for k, letter in enumerate(name, 1))
    place = torch.arange(math.prod(shape), dtype=torch.float64).view(shape)
    return (place * 12.9898 + offset).sin() * 0.9 + 0.1 * (place * 0.37 + offset).cos()


def _shaped(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype) -> Parameters:
    return {
        name: nn.Parameter(values(name, *shape).to(dtype, copy=True))
        for name, shape in shapes.items()
    }


def odd_shapes(dtype: torch.dtype) -> Parameters:
    """Return a scalar, an empty tensor, two other memory layouts, and one without a gradient."""
    found = _shaped({"scalar": (), "empty": (0,), UNUSED: (3,)}, dtype)
    strided = values("strided", 4, 5).to(dtype, copy=True).t()
    last = values("channels_last", 2, 3, 4, 4).to(dtype, copy=True)
    last = last.contiguous(memory_format=torch.channels_last)
    return found | {"strided": nn.Parameter(strided), "channels_last": nn.Parameter(last)}


def quadratic(parameters: Mapping[str, Tensor], step: int) -> Tensor:
    """Return a quadratic loss with curvatures from 0.5 to 5 about a minimum that moves a little."""
    return _sum(_quadratic(name, p, step) for name, p in parameters.items() if name != UNUSED)


def different_scales(parameters: Mapping[str, Tensor], step: int) -> Tensor:
    """Return the quadratic loss, each parameter's part scaled by 1e-6 to 1e3."""
    scales = [1e-6, 1e-3, 1.0, 1e3]
    parts = (_quadratic(name, p, step) for name, p in parameters.items())
    return _sum(part * scales[k % 4] for k, part in enumerate(parts))


def sparse_in_time(parameters: Mapping[str, Tensor], step: int) -> Tensor:
    """Return the quadratic loss, on two of three steps without the parameters in turn.

    The last parameter has gradients of zero on every other step.
    """
    names = list(parameters)
    used = [name for k, name in enumerate(names) if step == 0 or (step + k) % 3 == 0]
    parts = [_quadratic(name, parameters[name], step) for name in used]
    if names[-1] not in used:
        parts.append(_quadratic(names[-1], parameters[names[-1]], step) * (step % 2))
    return _sum(parts)


def _quadratic(name: str, p: Tensor, step: int) -> Tensor:
    minimum = _minimum(name, step, *p.shape)
    return (_curvature(name, p.dtype, *p.shape).to(p) * (p - minimum.to(p)).square()).sum() / 2


@functools.lru_cache(maxsize=256)
def _curvature(name: str, dtype: torch.dtype, *shape: int) -> Tensor:
    return 2.75 + 2.25 * values(f"{name} curvature", *shape).to(dtype)


@functools.lru_cache(maxsize=8192)
def _minimum(name: str, step: int, *shape: int) -> Tensor:
    return values(f"{name} minimum", *shape) + 0.1 * values(f"{name} {step}", *shape)


def _sum(parts: "object") -> Tensor:
    return torch.stack(list(parts)).sum()  # type: ignore[call-overload]


def _network(dtype: torch.dtype) -> Parameters:
    shapes = {"hidden.weight": (12, 8), "hidden.bias": (12,), "output.weight": (1, 12)}
    return _shaped(shapes, dtype)


def parity(parameters: Mapping[str, Tensor], step: int) -> Tensor:
    """Return the hinge loss of a network of one hidden layer on products of three signs."""
    weight = parameters["hidden.weight"]
    inputs = values(f"inputs {step}", 16, 8).sign().to(weight)
    hidden = torch.tanh(inputs @ weight.T + parameters["hidden.bias"])
    outputs = (hidden @ parameters["output.weight"].T)[:, 0]
    return (1 - inputs[:, :3].prod(dim=1) * outputs).clamp(min=0).mean()
