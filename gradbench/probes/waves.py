"""Closed form of E[h(x) dp/dw] for waves h of one direction and one ReLU layer on normal inputs.

p(x) = sum_j a_j relu(<w_j, x> + b_j) + c, h(x) = cos<v, x>, x ~ N(0, I). With beta = b / |w|,
e = w / |w| and z = beta + i <v, e>, completing the square gives

    f  = E[exp(i<v, x>) 1(<w, x> + b > 0)] = exp(-|v|^2 / 2) Phi(z)
    E[exp(i<v, x>) x 1(...)] = -i grad_v f = i v f + exp(-|v|^2 / 2) phi(z) e

with Phi, phi the normal distribution and density at a complex argument. No x is sampled, so values
far below any sample's noise are resolved. A square wave is replaced by its Fourier series.
"""

import math

import numpy as np
import scipy
import torch
from torch import Tensor, nn

HARMONICS = 8
"""Number of odd harmonics in the series of a square wave. The n-th is at most of size 1 / n, and of
size exp(-n^2 r^2 / 2) in directions orthogonal to all units."""

COST = 64
"""Approximate cost of one direction, in gradients of single examples."""

Layers = tuple[Tensor, Tensor, Tensor]


def layers(network: nn.Module) -> Layers | None:
    """Return weights `(m, d)`, biases `(m,)` and output weights `(m,)` of a one-layer ReLU network.

    None for any other network.
    """
    modules = list(network.children())
    if not isinstance(network, nn.Sequential) or [type(m) for m in modules[1:2]] != [nn.ReLU]:
        return None
    if len(modules) != 3:
        return None
    first, last = modules[0], modules[2]
    if not (isinstance(first, nn.Linear) and isinstance(last, nn.Linear)):
        return None
    if last.out_features != 1 or len(list(network.parameters())) != 4:  # a layer without bias
        return None
    weight, bias, out = (t.detach().cpu().double() for t in (first.weight, first.bias, last.weight))
    return (weight, bias, out[0]) if bool(weight.norm(dim=1).gt(0).all()) else None


def expected(of: Layers, directions: Tensor, *, square: bool = False) -> Tensor:
    """Return E[h_v(x) dp/dw] for every direction v, shape `(T, P)`, in the parameters' order.

    `directions` has shape `(T, d)`. h is the cosine, or its sign if `square`.
    """
    if not square:
        return _cosine(of, directions)
    odd = range(1, 2 * HARMONICS, 2)
    terms = [(-1) ** (n // 2) / n * _cosine(of, n * directions) for n in odd]
    return 4 / math.pi * torch.stack(terms).sum(dim=0)


def _cosine(of: Layers, v: Tensor) -> Tensor:
    weight, bias, out = of
    norm = weight.norm(dim=1)
    unit, beta = weight / norm[:, None], bias / norm
    damp = -(v.square().sum(dim=1, keepdim=True)) / 2  # log exp(-|v|^2 / 2), shape (T, 1)
    along = v @ unit.T  # (T, m)
    f, density = _normal(beta.expand_as(along), along, damp)
    active = f.real
    # Re(i v f) = -v Im f
    inputs = -f.imag[..., None] * v[:, None] + density.real[..., None] * unit
    hidden = norm * (beta * f.real - along * f.imag + density.real)
    parts = [(out[:, None] * inputs).flatten(1), out * active, hidden]
    return torch.cat([*parts, damp.exp()], dim=1)


def _normal(beta: Tensor, y: Tensor, damp: Tensor) -> tuple[Tensor, Tensor]:
    """Return exp(damp) Phi(beta + iy) and exp(damp) phi(beta + iy), without overflow.

    Phi(z) = erfc(-z / sqrt 2) / 2 and erfc(u) = exp(-u^2) wofz(iu), which is bounded for Re u >= 0;
    where beta > 0, Phi(z) = 1 - Phi(-z).
    """
    flip = torch.where(beta > 0, -1.0, 1.0)
    z = torch.complex(flip * beta, flip * y)
    faddeeva = torch.from_numpy(np.asarray(scipy.special.wofz((-1j * z / math.sqrt(2)).numpy())))
    gauss = (damp - z * z / 2).exp()
    phi = gauss / math.sqrt(2 * math.pi)
    tail = gauss * faddeeva / 2
    return torch.where(beta > 0, damp.exp() - tail, tail), phi
