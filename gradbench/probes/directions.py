"""Directions drawn where waves move a network's gradient, and what each then counts for.

By `waves`, a direction v on the sphere of radius r moves the gradient by about
exp(-r^2 (1 - t^2) / 2) through the unit to which it has the cosine t: at high r and d, uniform
directions, of which hardly one has a large t, miss nearly all of the variance. So a part is drawn
near the units. With k normal numbers along a unit instead of one, t^2 is Beta(k / 2, (d - 1) / 2),
of density

    t^(k-1) B(1/2, (d-1)/2) / B(k/2, (d-1)/2)

against the uniform one (k = 1). The integrand exp(-r^2 (1 - t^2)) (1 - t^2)^((d-3)/2) peaks
where 1 - t^2 = (d - 3) / (2 r^2), which sets the largest k; smaller ones cover what lies between.
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
"""Least of half the largest exponent: at low r, too, more depends on what lies along a unit."""


def towards_units(of: Layers, r: float, count: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """Return `count` directions of length r, shape `(count, d)`, and weights, shape `(count,)`.

    The weighted mean of a function over them has its mean over the sphere as expectation; it must
    be even, since directions against a unit are not drawn.
    """
    weight, _, out = of
    norm = weight.norm(dim=1)
    units, d = weight / norm[:, None], weight.shape[1]
    chances = norm.square() + out.square()  # of the unit's share in the gradient's square
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
    """E |t|^exponent for the cosine t of uniform directions in d dimensions."""
    if exponent == 0:
        return 1.0
    betaln = scipy.special.betaln
    return math.exp(betaln((exponent + 1) / 2, (d - 1) / 2) - betaln(1 / 2, (d - 1) / 2))


def weighted_variance(found: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """Return E || g - E g ||^2 from rows g, shape `(n, P)`, and how each row moves it, `(n,)`.

    The standard error is the latter's standard deviation over sqrt(n). Unbiased for rows around a
    fixed point; they are taken around their own mean, which costs a few parts in n^2.
    """
    n = len(weights)
    rows = found - (weights @ found) / weights.sum()  # so their weighted sum is zero
    squares = weights * rows.square().sum(dim=1)
    itself = (weights.square() @ rows.square().sum(dim=1)) / (n * (n - 1))
    return (squares.mean() + itself).item(), squares
