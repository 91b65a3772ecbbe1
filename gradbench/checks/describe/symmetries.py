"""What changes of a problem an optimizer's steps follow, and what of a gradient each step uses."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gradbench.checks.conform.gaps import equal
from gradbench.checks.describe.quadratics import Loss, linear, steps
from gradbench.checks.describe.time_left import LATE, InTime
from gradbench.optimizers.factory import Factory

STEPS = 20
TOLERANCE = 1e-6
"""Largest difference of two paths, relative to the way, that counts as none: eps may show."""

GONE = 0.01
"""Part of all movement after which a gradient is forgotten."""

LONGEST = 10_000

Change = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""A change of coordinates of a vector, and its inverse."""


def _numbers(*shape: int) -> Tensor:
    place = torch.arange(math.prod(shape), dtype=torch.float64).view(shape)
    return (place * 12.9898 + 0.5).sin()


def _loss(change: Callable[[Tensor], Tensor] = lambda x: x, scale: float = 1.0) -> Loss:
    """Return a quadratic loss of a vector of six with moving minimum, in other coordinates."""
    curvature = 2.0 + _numbers(6)

    def loss(parameters: Sequence[Tensor], at: int) -> Tensor:
        x = change(parameters[0])
        return scale * (curvature * (x - 0.3 * _numbers(6) * (at % 3)).square()).sum() / 2

    return loss


def _rotation() -> Tensor:
    orthogonal: Tensor = torch.linalg.qr(_numbers(6, 6))[0]
    return orthogonal


def follows(factory: Factory) -> dict[str, bool]:
    """Return, for each change of coordinates, whether the path changes in the same way.

    The rows are permutation, sign flips, translation and rotation of a vector's entries; a loss and
    with it all gradients times 100 with unchanged steps; and the same of a tenth.
    """
    start, order = 1.5 * _numbers(6), torch.tensor([3, 0, 5, 1, 4, 2])
    flips = torch.tensor([1.0, -1, -1, 1, -1, 1], dtype=torch.float64)
    rotation = _rotation()
    changes: dict[str, Change] = {
        "permutation": (lambda x: x[order], lambda x: x[order.argsort()]),
        "sign flips": (lambda x: x * flips, lambda x: x * flips),
        "translation": (lambda x: x + 1.7, lambda x: x - 1.7),
        "rotation": (lambda x: rotation @ x, lambda x: rotation.T @ x),
    }
    plain = steps(factory, [start], _loss(), STEPS)
    found = {}
    for name, (there, back) in changes.items():
        path = steps(factory, [there(start)], _loss(back), STEPS)
        found[name] = _near(plain, [[back(p)] for (p,) in path])
    for scale in (100.0, 0.1):
        path = steps(factory, [start], _loss(scale=scale), STEPS)
        found[f"loss times {scale:g}"] = _near(plain, path)
    return found


def _near(one: list[list[Tensor]], other: list[list[Tensor]]) -> bool:
    way = max(float((p - one[0][0]).norm()) for (p,) in one)
    return all(
        float((a - b).norm()) <= TOLERANCE * max(way, 1e-300)
        for (a,), (b,) in zip(one, other, strict=True)
    )


def first_step_exponent(factory: Factory) -> float | None:
    """Return a in |step| ~ |gradient|^a of a first step: 1 proportional, 0 the sign.

    It is the slope between the entries of a gradient of 0.01 to 100. None where nothing moves.
    """
    gradient = torch.logspace(-2, 2, 5, dtype=torch.float64)
    start, after = steps(factory, [torch.zeros(5, dtype=torch.float64)], linear([gradient]), 1)
    moved = (after[0] - start[0]).abs()
    if not bool((moved > 0).all()):
        return None
    return float((moved[-1] / moved[0]).log10() / 4)


def reach(factory: Factory) -> str:
    """Return whom another gradient of one entry changes: the element, its tensor, or all."""
    start = [_numbers(4, 3), _numbers(3, 4)]
    gradient = [torch.ones(4, 3, dtype=torch.float64), torch.ones(3, 4, dtype=torch.float64)]
    other = [gradient[0].clone(), gradient[1]]
    other[0][1, 1] = 3.0
    plain, changed = (steps(factory, start, linear(g), 3)[-1] for g in (gradient, other))
    beyond = (plain[0] != changed[0]).sum().item() - int(plain[0][1, 1] != changed[0][1, 1])
    if not torch.equal(plain[1], changed[1]):
        return "all parameters"
    return "its tensor" if beyond else "its element"


def memory(factory: Factory, in_time: InTime = lambda _: True) -> int | str | None:
    """Return after how many steps of gradient zero a gradient has moved all but 1 % of its way.

    None where it moves on at the end of 10,000 steps, 500 where a step may evaluate twenty times,
    or never moved; `LATE` where the steps that would tell are not in time.
    """
    count = 100
    while count <= (LONGEST // 20 if factory.requirements.closure else LONGEST):
        if not in_time(count):
            return LATE
        path = steps(
            factory,
            [torch.zeros(1, dtype=torch.float64)],
            linear([torch.ones(1, dtype=torch.float64)], lambda at: float(at == 0)),
            count,
        )
        x = [abs(float(each[0][0])) for each in path]
        if x[-1] == 0:
            return None
        last = max(k for k in range(len(x)) if abs(x[k] - x[-1]) > GONE * x[-1])
        if last < 0.8 * count:
            return last
        count *= 10
    return None


def deterministic(factory: Factory) -> bool:
    """Return whether two paths are equal to the bit though torch's global generator differs."""

    def path(seed: int) -> list[list[Tensor]]:
        def loss(parameters: Sequence[Tensor], at: int) -> Tensor:
            if at == 0:
                torch.manual_seed(seed)
            return _loss()(parameters, at)

        return steps(factory, [_numbers(6)], loss, STEPS)

    return all(equal(a, b) for (a,), (b,) in zip(path(1), path(2), strict=True))
