"""Variance of the gradient over targets (theorem 1): how much it can tell about which one it is.

Var = E_h || grad F_h - E_h' grad F_h' ||^2 at fixed weights. Readings are Var / G^2 with
G^2 = E || dp/dw ||^2, the theorem's measure of scale: for members orthonormal as functions it is
at most 1 / |H|. A gradient whose norm is large says nothing by that.
"""

import math
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor, nn

from gradbench.probes import waves
from gradbench.probes.gradients import Loss, Twin, each_gradient, squared_norms, twin
from gradbench.probes.reading import Reading, nothing, positive
from gradbench.scenario import Batch, Scenario
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic

NAME = "variance over targets"
TARGETS = 16
INPUTS = 1024
"""Most inputs of a sample for parities: the value is then known to about a percent."""

FEW = 4
"""Up to so many outputs, each one's gradient is taken by itself."""

SIGNS = 16
CARRIED = 10
"""Fewest targets, in effect, that a mean over targets must rest on."""

LARGEST = 16
"""Above this d the gradients on all 2^d inputs are not held at once."""


@singledispatch
def variance_over_targets(
    scenario: Scenario, network: nn.Module, *, examples: int = 4096, seed: int = 0
) -> Reading:
    """Var / G^2 by independent batches and targets, without bias.

    With targets t and two independent batches each, A and B: sum_t <a_t - mean a, b_t - mean b>
    / (T - 1), where a_t and b_t are the mean gradients; noise of the batches is independent and
    cancels. `examples` are shared among 16 targets. The error is that over targets.

    For parities the closed identity holds (see `parity_variance`), for linear-periodic functions
    the expectation over inputs is exact (see `waves`): values far below any sample's noise are
    known, parities' to a percent, waves' to a few unless few targets carry nearly all of it.
    """
    generator = torch.Generator().manual_seed(seed)
    targets = [scenario.draw_target(generator) for _ in range(TARGETS)]
    if not targets[0]:
        return nothing(NAME, "the scenario has one target only")
    of = twin(network, scenario.loss)
    size = max(2, examples // (2 * TARGETS))
    drawn = [[scenario.sample(t, size, generator) for _ in range(2)] for t in targets]
    a, b = (torch.stack([of.gradient(pair[side]) for pair in drawn]) for side in range(2))
    products = ((a - a.mean(dim=0)) * (b - b.mean(dim=0))).sum(dim=1) * TARGETS / (TARGETS - 1)
    scale, off, path = _scale(of, drawn[0][0])
    value = products.mean().item() / scale
    return positive(
        NAME,
        value,
        math.hypot(products.std().item() / math.sqrt(TARGETS) / scale, value * off),
        cost=(2 * TARGETS + 1) * size,
        path=path,
        note=f"{TARGETS} targets, {size} examples each, twice",
    )


@variance_over_targets.register
def _parity(
    scenario: Parity, network: nn.Module, *, examples: int = 4096, seed: int = 0
) -> Reading:
    """By the identity, on all inputs where they are no more than `examples`."""
    generator = torch.Generator().manual_seed(seed)
    sampled = scenario.d > LARGEST or 2**scenario.d > examples
    if sampled:
        count = min(examples, INPUTS)
        inputs, _ = scenario.sample({"support": torch.arange(1)}, count, generator)
    else:
        inputs = every_input(scenario.d)
    return parity_variance(network, scenario.loss, inputs, sampled=sampled)


@variance_over_targets.register
def _periodic(
    scenario: Periodic, network: nn.Module, *, examples: int = 4096, seed: int = 0
) -> Reading:
    """Exact over inputs, by as many targets as examples allow."""
    generator = torch.Generator().manual_seed(seed)
    layers = waves.layers(network)
    if layers is None:
        return variance_over_targets.dispatch(Scenario)(
            scenario, network, examples=examples, seed=seed
        )
    inputs = torch.randn(min(examples, 512), scenario.d, generator=generator)
    of = twin(network, scenario.loss)
    scale, off, _ = _scale(of, (inputs, torch.zeros(len(inputs))))
    square = scenario.wave == "square"
    cost = waves.COST * (waves.HARMONICS if square else 1)
    count = max(8, (examples - len(inputs)) // cost)
    directions = torch.stack(
        [scenario.draw_target(generator)["direction"] for _ in range(count)]
    ).double()
    found = waves.expected(layers, directions, square=square)
    apart = (found - found.mean(dim=0)).square().sum(dim=1) * count / (count - 1)
    value = apart.mean().item() / scale
    error = math.hypot(apart.std().item() / math.sqrt(count) / scale, value * off)
    carried = (apart.sum().square() / apart.square().sum()).item()
    note = f"{count} targets, exact over inputs"
    spent = len(inputs) + count * cost
    if carried >= CARRIED:
        return positive(NAME, value, error, cost=spent, path="closed form", note=note)
    note += f"; about {carried:.0f} of them carry it: an order of magnitude only"
    return Reading(NAME, value, error, resolved=False, note=note, cost=spent, path="closed form")


def _scale(of: Twin, batch: Batch) -> tuple[float, float, str]:
    """Return G^2 = E || dp/dw ||^2 over all outputs, its relative error, and the path taken.

    Up to four outputs one by one; of more, sums under random signs, whose squared gradient has the
    sum over outputs as its mean over signs: each sign vector meets its own part of the batch.
    """
    width = of.network(of.place(batch)[0][:1])[0].numel()
    if width <= FEW:
        parts = [squared_norms(_only(of, _column(i)), batch) for i in range(width)]
        norms, path = torch.stack([n for n, _ in parts]).sum(dim=0), parts[0][1]
    else:
        signs = torch.randint(0, 2, (SIGNS, width), generator=torch.Generator().manual_seed(0))
        pieces = zip(batch[0].tensor_split(SIGNS), batch[1].tensor_split(SIGNS), strict=True)
        found = [
            squared_norms(_only(of, _signed(2.0 * s - 1)), piece)
            for s, piece in zip(signs, pieces, strict=True)
            if len(piece[0])
        ]
        norms, path = torch.stack([n.mean() for n, _ in found]), found[0][1]
    scale = norms.mean().item()
    return scale, norms.std().item() / math.sqrt(len(norms)) / scale, path


def _only(of: Twin, loss: Loss) -> Twin:
    return Twin(of.network, loss, of.parameters)


def _column(index: int) -> Loss:
    return lambda outputs, _: outputs.flatten(1)[:, index]


def _signed(signs: Tensor) -> Loss:
    return lambda outputs, _: outputs.flatten(1) @ signs.to(outputs)


# Parities


def every_input(d: int) -> Tensor:
    """Return all of {-1, +1}^d, shape `(2^d, d)`; row i holds -1 where bit j of i is set."""
    if d > LARGEST:
        raise ValueError(f"2^{d} inputs are too many: d is at most {LARGEST}")
    counter = torch.arange(2**d)
    return 1.0 - 2 * ((counter[:, None] >> torch.arange(d)) & 1)


def half_gap(loss: Loss, outputs: Tensor) -> Tensor:
    """Half the difference of the loss's derivatives by the output at the labels +1 and -1.

    grad F_h = E[(l'(p, 1) + l'(p, -1))/2 dp/dw] + E[h (l'(p, 1) - l'(p, -1))/2 dp/dw]: only the
    second term knows h. For (p - y)^2/2 the half gap is -1; for r(p y) it is (r'(p) + r'(-p))/2.
    (The paper's A.1 has the two coefficients swapped.)
    """
    with torch.enable_grad():
        p = outputs.detach().requires_grad_()
        up, down = (
            torch.autograd.grad(loss(p, torch.full_like(p[:, 0], sign)).sum(), p)[0]
            for sign in (1.0, -1.0)
        )
    return (up - down) / 2


def _informative(of: Twin, inputs: Tensor) -> tuple[Tensor, Tensor, str]:
    """Return g = half gap * dp/dw and dp/dw of every input, shape `(n, P)`, and the path."""
    labels = torch.zeros(len(inputs))
    slopes, path = each_gradient(_only(of, _column(0)), (inputs, labels))
    outputs = of.network(of.place((inputs, labels))[0])
    return half_gap(of.loss, outputs) * slopes, slopes, path


def parity_variance(
    network: nn.Module, loss: Loss, inputs: Tensor, *, sampled: bool = True
) -> Reading:
    """Var / G^2 over all 2^d parities by Parseval: Var = E||g||^2 / 2^d - ||g(x0)||^2 / 4^d.

    g is as in `half_gap`, x0 the input on which every parity is +1. `inputs`, shape `(n, d)` in
    {-1, +1}, are a uniform sample, or all inputs (`sampled=False`: the value is exact). The
    theorem's bound is 2^-d. The network has one output; labels are +1 and -1.
    """
    of, d = twin(network, loss), inputs.shape[1]
    batch = of.place((torch.cat((torch.ones(1, d).to(inputs), inputs)), torch.zeros(1)))
    norms, path = squared_norms(_only(of, _column(0)), batch)
    told = (half_gap(loss, of.network(batch[0]))[:, 0].square() * norms).detach()
    origin, each, scales = told[0], told[1:], norms[1:]
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
    """The gradient's variance over all 2^d parities, exactly, and where it comes from.

    `energies[k]` is the mean over the parities v of weight k of ||E[h_v g]||^2, the squared length
    of what the gradient tells of v. `variance` and `scale` are Var and G^2; `bound` is G^2 / 2^d.
    """

    variance: float
    scale: float
    energies: tuple[float, ...]

    @property
    def bound(self) -> float:
        """Theorem 1: G^2 / |H|."""
        return self.scale * 0.5 ** (len(self.energies) - 1)


def parity_profile(network: nn.Module, loss: Loss, d: int) -> ParityProfile:
    """Return the exact variance over all parities of d <= 16 bits, by weight.

    One fast Walsh-Hadamard transform of g over all inputs gives E[h_v g] of every parity at once:
    O(2^d d P) operations and 8 * 2^d P bytes.
    """
    g, slopes, _ = _informative(twin(network, loss), every_input(d))
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
