"""The largest learning rate at which an optimizer is stable on a quadratic, also with a delay."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.describe.quadratics import steps
from gradbench.optimizers.factory import Factory

STEPS = 600
"""Steps after which a growing oscillation has left its start behind; a fortieth for an optimizer
with a closure, whose step may evaluate twenty times."""

HALVINGS = 13
"""Bisections of the logarithm of a limit: to 0.1 % within a factor of 10,000."""

SMALL = 1e-100
"""A start whose gradients are nothing beside an eps of 1, also after growing in the first steps."""

LARGE = 1e-20
"""A size to which nothing stable grows from `SMALL`."""

GONE = 1e-3
"""Part of the start below which a size counts as gone: rounding may move it."""

BETWEEN = (1e-3, 64.0)
"""Range of rates that are tried on a curvature of 1."""

DELAYS = range(1, 5)


def largest_rate(
    factory: Factory, *, delay: int = 0, options: Mapping[str, Any] | None = None
) -> float | None:
    """Return the largest stable rate on x^2 / 2, times 1; None if all or no rates are stable.

    Each step uses the gradient at the parameters of `delay` steps earlier.
    """

    def grows(rate: float) -> bool:
        return _grows(factory, {**(options or {}), "lr": rate}, delay)

    return _between(grows, *BETWEEN)


def _between(grows: Callable[[float], bool], low: float, high: float) -> float | None:
    """Return where growth begins; None where it does not begin between the two."""
    if grows(low) or not grows(high):
        return None
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if grows(middle) else (middle, high)
    return math.sqrt(low * high)


def _grow(sizes: list[float]) -> bool:
    """Return whether the last third of sizes has a larger one than the third before."""
    if not all(map(math.isfinite, sizes)):
        return True
    if sizes[0] < LARGE < max(sizes):
        return True
    third = len(sizes) // 3
    before, after = max(sizes[third : 2 * third]), max(sizes[-third:])
    return after > before and after > GONE * sizes[0]


def _grows(factory: Factory, options: Mapping[str, Any], delay: int, start: float = 1.0) -> bool:
    """Return whether the distance from the minimum has grown in the second half of the steps."""
    past: list[float] = []

    def loss(parameters: Sequence[Tensor], _: int) -> Tensor:
        past.append(float(parameters[0].detach()[0]))
        late = past[max(0, len(past) - 1 - delay)]
        return (parameters[0] * late).sum()

    begin = [torch.tensor([start], dtype=torch.float64)]
    path = steps(factory, begin, loss, _length(factory), options)
    return _grow([abs(float(each[0][0])) for each in path])


def _length(factory: Factory) -> int:
    return STEPS // 40 if factory.requirements.closure else STEPS


def count(factory: Factory) -> int:
    """Return the largest number of steps that a limit takes."""
    return (HALVINGS + 2) * _length(factory)


def largest_preconditioned_rate(factory: Factory) -> float | None:
    """Return the largest stable rate over the preconditioner, at a curvature of 1.

    The preconditioner is the option `eps`, here 1, beside which the gradients are nothing. The law
    is 2 without momentum, and (2 + 2 beta) / (1 - beta) for an average of gradients: Adam's 38
    (J. Cohen et al., arXiv:2207.14484). None without such an option or a limit.
    """
    if not isinstance(options_of(factory).get("eps"), float):
        return None

    def grows(rate: float) -> bool:
        return _grows(factory, {"eps": 1.0, "lr": rate}, 0, start=SMALL)

    return _between(grows, 1e-1, 1e3)


def delay_law(delay: int) -> float:
    """Return gradient descent's largest stable rate times the curvature at a delay of steps."""
    return 2 * math.sin(math.pi / (2 * (2 * delay + 1)))


def momentum_law(known: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return the law of gradient descent with momentum beta, and its formula; None for others.

    2 + 2 beta for heavy ball (B. Polyak 1964; 2 for gradient descent), over 1 - dampening where the
    gradient is damped; (2 + 2 beta) / (1 + 2 beta) for Nesterov's momentum.
    """
    beta, damping = known.get("momentum"), known.get("dampening") or 0.0
    if not isinstance(beta, int | float) or isinstance(beta, bool) or known.get("weight_decay"):
        return None
    if known.get("nesterov"):
        return (2 + 2 * beta) / (1 + 2 * beta), "(2 + 2 momentum) / (1 + 2 momentum)"
    if damping and beta:  # the first gradient alone is not damped
        return (2 + 2 * beta) / (1 - damping), "(2 + 2 momentum) / (1 - dampening)"
    return 2.0 + 2 * beta, "2 + 2 momentum"
