"""The gradient's variance over all parities of d bits, by Parseval: exact, or to a percent."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradbench.probes.gradients import Loss, NetworkCopy, each_gradient, float64_copy, squared_norms
from gradbench.probes.reading import Reading, positive

NAME = "variance over targets"
LARGEST = 16
"""Largest d for which the gradients on all 2^d inputs are computed."""


def every_input(d: int) -> Tensor:
    """Return all of {-1, +1}^d, shape `(2^d, d)`; entry (i, j) is -1 where bit j of i is set.

    Raises ValueError for d > 16.
    """
    if d > LARGEST:
        raise ValueError(f"2^{d} inputs are too many: d is at most {LARGEST}")
    counter = torch.arange(2**d)
    return 1.0 - 2 * ((counter[:, None] >> torch.arange(d)) & 1)


def half_gap(loss: Loss, outputs: Tensor) -> Tensor:
    """Return half the difference of the loss's derivatives by the output at labels +1 and -1.

    grad F_h = E[(l'(p, 1) + l'(p, -1))/2 dp/dw] + E[h (l'(p, 1) - l'(p, -1))/2 dp/dw]: only the
    second term contains h. For (p - y)^2/2 the half gap is -1; for r(p y) it is (r'(p) + r'(-p))/2.
    (The paper's A.1 has the two coefficients swapped.)
    """
    with torch.enable_grad():
        p = outputs.detach().requires_grad_()
        up, down = (
            torch.autograd.grad(loss(p, torch.full_like(p[:, 0], sign)).sum(), p)[0]
            for sign in (1.0, -1.0)
        )
    return (up - down) / 2


def one_output(of: NetworkCopy, d: int) -> None:
    """Raise ValueError unless a network of d inputs has exactly one output."""
    shape = tuple(of.network(of.place((torch.ones(2, d), torch.ones(2)))[0]).shape)
    if shape != (2, 1):
        sizes = ", ".join(map(str, shape[1:]))
        raise ValueError(f"a parity needs a network of outputs (n, 1), not (n, {sizes})")


def _informative(of: NetworkCopy, inputs: Tensor) -> tuple[Tensor, Tensor, str]:
    """Return g = half gap * dp/dw and dp/dw of every input, shape `(n, P)`, and the path."""
    labels = torch.zeros(len(inputs))
    slopes, path = each_gradient(of.output(0), (inputs, labels))
    outputs = of.network(of.place((inputs, labels))[0])
    return half_gap(of.loss, outputs) * slopes, slopes, path


def parity_variance(
    network: nn.Module, loss: Loss, inputs: Tensor, *, sampled: bool = True
) -> Reading:
    """Return Var / G^2 over all 2^d parities: Var = E||g||^2 / 2^d - ||g(x0)||^2 / 4^d (Parseval).

    g is as in `half_gap`, x0 the input on which every parity is +1. `inputs`, shape `(n, d)` in
    {-1, +1}, are a uniform sample, or all inputs (`sampled=False`: the value is exact). The
    theorem's bound is 2^-d. The network has one output; labels are +1 and -1.
    """
    of, d = float64_copy(network, loss), inputs.shape[1]
    one_output(of, d)
    batch = of.place(
        (torch.cat((torch.ones(1, d).to(inputs), inputs)), torch.zeros(len(inputs) + 1))
    )
    norms, path = squared_norms(of.output(0), batch)
    squares = (half_gap(loss, of.network(batch[0]))[:, 0].square() * norms).detach()
    origin, each, scales = squares[0], squares[1:], norms[1:]
    scale = scales.mean()
    value = each.mean() / 2**d - origin / 4**d
    # the ratio's error by the first-order expansion of numerator and denominator
    influence = each / 2**d - origin / 4**d - value / scale * scales
    error = influence.std() / math.sqrt(len(inputs)) / scale if sampled else torch.zeros(())
    return positive(
        NAME,
        (value / scale).item(),
        error.item(),
        note=f"bound {2.0**-d:.2g}" + ("" if sampled else "; exact"),
        cost=len(inputs) + 1,
        path=path,
    )


@dataclass(frozen=True)
class ParityProfile:
    """The gradient's exact variance over all 2^d parities, and its parts by weight.

    `energies[k]` is the mean of ||E[h_v g]||^2 over the parities v of weight k: the squared length
    of the part of the gradient that depends on v. `variance` and `scale` are Var and G^2; `bound`
    is G^2 / 2^d.
    """

    variance: float
    scale: float
    energies: tuple[float, ...]

    @property
    def bound(self) -> float:
        """The bound of theorem 1 on the variance: G^2 / |H|."""
        return self.scale * 0.5 ** (len(self.energies) - 1)


def parity_profile(network: nn.Module, loss: Loss, d: int) -> ParityProfile:
    """Return the exact variance over all parities of d <= 16 bits, by weight.

    One fast Walsh-Hadamard transform of g over all inputs gives E[h_v g] of every parity at once:
    O(2^d d P) operations and 8 * 2^d P bytes.
    """
    of = float64_copy(network, loss)
    one_output(of, d)
    g, slopes, _ = _informative(of, every_input(d))
    scale = slopes.square().sum(dim=1).mean().item()
    del slopes
    coefficients = walsh_hadamard(g).div_(2**d)
    each = coefficients.square().sum(dim=1)
    variance = (each.mean() - coefficients.mean(dim=0).square().sum()).item()
    weight = (every_input(d) < 0).sum(dim=1)
    energies = [each[weight == k].mean().item() for k in range(d + 1)]
    return ParityProfile(variance, scale, tuple(energies))


def walsh_hadamard(rows: Tensor) -> Tensor:
    """Return sum_x h_v(x) rows[x] for every v, in place; shape `(2^d, P)`, v and x as bits."""
    n, half = len(rows), 1
    while half < n:
        pairs = rows.view(n // (2 * half), 2, half, -1)
        low, high = pairs[:, 0].clone(), pairs[:, 1]
        pairs[:, 0] += high
        pairs[:, 1] = low - high
        half *= 2
    return rows
