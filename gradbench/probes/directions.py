"""Importance sampling of wave directions: directions near a network's units, and their weights.

By `waves`, a direction v on the sphere of radius r contributes about exp(-r^2 (1 - t^2) / 2) to the
gradient through a unit, with t the cosine between v and the unit. At high r and d hardly any
uniform direction has a large t, so uniform directions miss nearly all of the variance. A part of
the directions is therefore drawn near the units. With k normal numbers along a unit instead of one,
t^2 is Beta(k / 2, (d - 1) / 2), of density

    t^(k-1) B(1/2, (d-1)/2) / B(k/2, (d-1)/2)

against the uniform one (k = 1). The integrand exp(-r^2 (1 - t^2)) (1 - t^2)^((d-3)/2) peaks
where 1 - t^2 = (d - 3) / (2 r^2), which determines the largest k. Smaller k cover the range between
this peak and the uniform distribution.
"""

import math

import scipy
import torch
from torch import Tensor

from gradbench.probes.waves import Layers
from gradbench.scenarios.draws import Draws

SHARES = (0, 1 / 2, 3 / 4, 1)
"""Equal parts of the directions are drawn with these shares of the largest exponent k - 1."""

LEAST = 2
"""Lower limit of half the largest exponent: directions along a unit matter more at low r, too."""


def towards_units(of: Layers, r: float, count: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """Return `count` directions of length r, shape `(count, d)`, and weights, shape `(count,)`.

    The weighted mean of an even function over them has the mean over the sphere as its expectation.
    Odd parts are biased: each direction has a positive cosine to the unit near which it is drawn.
    """
    weight, _, out = of
    norm = weight.norm(dim=1)
    units, d = weight / norm[:, None], weight.shape[1]
    chances = norm.square() + out.square()  # proportional to the unit's share in ||g||^2
    chances = chances / chances.sum()
    peak = 1 - (d - 3) / (2 * r * r)
    most = max(LEAST, r * r * peak) if d > 1 else 0
    exponents = [2 * round(most * share) for share in SHARES]
    part = torch.arange(count) % len(SHARES)
    uniform = draws.uniform(count).double()
    chosen = torch.searchsorted(chances.double().cumsum(dim=0), uniform)
    around = units[chosen.clamp(max=len(units) - 1)]
    normal = draws.normal(count, d).double()
    across = normal - (normal * around).sum(dim=1, keepdim=True) * around
    along = draws.normal(count, 1 + exponents[-1]).double()
    along = along.square().cumsum(dim=1)[torch.arange(count), torch.tensor(exponents)[part]]
    v = along.sqrt()[:, None] * around + across
    v = v / v.norm(dim=1, keepdim=True)
    cosines = (v @ units.T).abs()
    density = torch.zeros(count, dtype=torch.float64)
    for i, exponent in enumerate(exponents):
        share = int((part == i).sum()) / count
        density += share / _mean_power(d, exponent) * (cosines**exponent @ chances)
    return r * v, 1 / density


def _mean_power(d: int, exponent: int) -> float:
    """Return E |t|^exponent for the cosine t of uniform directions in d dimensions."""
    if exponent == 0:
        return 1.0
    betaln = scipy.special.betaln
    return math.exp(betaln((exponent + 1) / 2, (d - 1) / 2) - betaln(1 / 2, (d - 1) / 2))


def weighted_variance(found: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """Return E || g - E g ||^2 from rows g, shape `(n, P)`, and each row's term, shape `(n,)`.

    The standard error is the standard deviation of the terms over sqrt(n). The estimate is unbiased
    for rows around a fixed point. The rows' own mean is used instead, at the cost of a few parts in
    n^2.
    """
    n = len(weights)
    rows = found - (weights @ found) / weights.sum()  # so their weighted sum is zero
    squares = weights * rows.square().sum(dim=1)
    itself = (weights.square() @ rows.square().sum(dim=1)) / (n * (n - 1))
    return (squares.mean() + itself).item(), squares
