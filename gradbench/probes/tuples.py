"""The end-to-end gradient for tuples of images, averaged over all tuples from pools of images.

A tuple's gradient is a product of k weak correlations, far below the noise of any affordable
number of random tuples. But where every hinge is active (at the start: |N2| < 1) the loss is
1 - prod y_j N2(sigma_1 .. sigma_k), and its mean over all tuples of k independent pools can be
computed without forming the tuples. Let mu_j be the distribution of sigma_j in its pool, each point
weighted by its label, and mu the product of the mu_j, j != i. The derivative by sigma_i of
prod y_j N2, averaged over the images of the other slots, is y_i times

    A_i(sigma) = sum_h a_h w_hi mu{ w_hi sigma + sum_(j != i) w_hj sigma_j + b_h > 0 }

and the distribution of a sum is a convolution: one FFT per slot and unit, on bins over which each
point is spread linearly. A pool has equal numbers of images of both labels, so a term that does not
depend on the label of some slot cancels exactly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradbench.probes.gradients import NetworkCopy
from gradbench.scenarios.base import Batch, Scenario
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.line_tuples import LineTuples, TupleNetwork, lines

BINS = 2**14
PER_POINT = 8
"""Bins per point of a pool, up to `BINS` in all: their error is below the noise of a pool."""

ENTRIES = 2**21
"""Most entries, over units and images, of the tensors that are in memory at once."""

COST = 200
"""Approximate cost of a pool's gradient without its images, in gradients of single examples."""

CHUNK = 4096
"""Most images that are drawn and scored at once."""


@dataclass(frozen=True)
class Pools:
    """One pool of 2 `half` images per slot; images are drawn again from its seed when needed."""

    seed: int
    slots: int
    half: int

    def chunks(self, slot: int) -> list[Batch]:
        """Return chunks of the slot's images, `(n, 784)`, and labels, with `half` of each label."""
        draws = Draws((self.seed * 1009 + slot) % 2**63)
        wanted, found = {1.0: self.half, -1.0: self.half}, []
        while any(wanted.values()):
            images, labels = lines(min(CHUNK, 4 * self.half), draws)
            keep = torch.zeros(len(labels), dtype=torch.bool)
            for sign, left in wanted.items():
                chosen = (labels == sign).nonzero()[:left, 0]
                keep[chosen] = True
                wanted[sign] = left - len(chosen)
            found.append((images[keep], labels[keep]))
        return found


def applies(scenario: Scenario, network: nn.Module) -> bool:
    """Return whether the mean over pools has a closed form.

    It has one where N2 is one ReLU layer and every hinge is active on 500 sampled tuples.
    """
    if not (isinstance(scenario, LineTuples) and isinstance(network, TupleNetwork)):
        return False
    if [type(layer) for layer in network.n2.children()] != [nn.Linear, nn.ReLU, nn.Linear]:
        return False
    images, _ = scenario.sample({}, 500, Draws(0))
    with torch.no_grad():
        outputs = network(images.to(next(network.parameters())))
    reach = outputs if scenario.approach == "decomposition" else outputs[:, :1]
    return bool(reach.abs().max() < 1)


def pooled_gradient(of: NetworkCopy, scenario: LineTuples, pools: Pools) -> Tensor:
    """Return the gradient of the mean loss over all tuples from the pools, flat, `(P,)`.

    Only N1's parameters have a gradient; that of N2's parameters is zero. It is valid only where
    `applies` returns true.

    Raises TypeError for a network that is not a `TupleNetwork`.
    """
    network = of.network
    if not isinstance(network, TupleNetwork):
        raise TypeError("pools are for the network of tuples")
    with torch.no_grad():
        drawn = [
            [(network.n1(of.place(batch)[0])[:, 0].cpu(), batch[1].double()) for batch in chunks]
            for chunks in (pools.chunks(slot) for slot in range(pools.slots))
        ]
    sigma = [torch.cat([s for s, _ in chunks]).sigmoid() for chunks in drawn]
    labels = [torch.cat([y for _, y in chunks]) for chunks in drawn]
    total = torch.zeros(sum(p.numel() for p in of.tensors), dtype=torch.float64)
    for slot in range(pools.slots):
        pull = -labels[slot] * pull_on(network, slot, sigma, labels)
        pull *= sigma[slot] * (1 - sigma[slot])
        if scenario.approach == "decomposition":  # (1 - y s) / k of each image
            pull -= labels[slot] / pools.slots
        place = 0
        for images, y in pools.chunks(slot):
            scores = network.n1(of.place((images, y))[0])[:, 0]
            part = pull[place : place + len(y)].to(scores)
            total += of.flat((part * scores).sum() / len(pull)).cpu()
            place += len(y)
    return total


def pull_on(network: TupleNetwork, slot: int, sigma: list[Tensor], labels: list[Tensor]) -> Tensor:
    """Return A_slot (see the module) at each sigma of the slot's pool, shape `(n,)`, on the CPU."""
    weight, bias, last = (p.detach().cpu() for p in list(network.n2.parameters())[:3])
    others = [j for j in range(len(sigma)) if j != slot]
    pull = torch.zeros_like(sigma[slot])
    units = torch.arange(len(bias))
    for few in units.split(max(1, ENTRIES // max(1, len(pull)))):
        at = -bias[few, None] - weight[few, slot, None] * sigma[slot]
        points = [weight[few, j, None] * sigma[j] for j in others]
        found = exceed(points, [labels[j] / len(labels[j]) for j in others], at)
        pull += (last[0, few] * weight[few, slot]) @ found
    return pull


def exceed(points: list[Tensor], weights: list[Tensor], thresholds: Tensor) -> Tensor:
    """Return the signed measure of {sum of independent variables > threshold}, per row.

    `points` has a tensor `(rows, n)` for each variable, `weights` its signed weights `(n,)`, which
    are the same for all rows. `thresholds` and the result have shape `(rows, m)`. The result is
    exact for one variable; several are binned.
    """
    if not points:
        return (thresholds < 0).to(thresholds)
    low = torch.stack([x.amin(dim=1) for x in points]).sum(dim=0)[:, None]
    high = torch.stack([x.amax(dim=1) for x in points]).sum(dim=0)[:, None]
    mass = torch.stack([w.sum() for w in weights]).prod()
    found = torch.where(thresholds < low, mass, torch.zeros_like(thresholds))
    crossed = ((thresholds >= low) & (thresholds < high)).any(dim=1).nonzero()[:, 0]
    if len(crossed) == 0:
        return found
    inside, at = [x[crossed] for x in points], thresholds[crossed]
    if len(points) == 1:
        inner = _exact(inside[0], weights[0], at)
    else:
        inner = _binned(inside, weights, at, low[crossed])
    between = (at >= low[crossed]) & (at < high[crossed])
    found[crossed] = torch.where(between, inner, found[crossed])
    return found


def _exact(points: Tensor, weights: Tensor, thresholds: Tensor) -> Tensor:
    ordered, order = points.sort(dim=1)
    above = weights[order].flip(1).cumsum(1).flip(1)
    above = torch.cat((above, above.new_zeros(len(above), 1)), dim=1)
    return above.gather(1, torch.searchsorted(ordered, thresholds.contiguous(), right=True))


def _binned(points: list[Tensor], weights: list[Tensor], thresholds: Tensor, low: Tensor) -> Tensor:
    count = min(BINS, 2 ** (PER_POINT * max(len(w) for w in weights) - 1).bit_length())
    reach = torch.stack([x.amax(dim=1) - x.amin(dim=1) for x in points]).amax(dim=0)
    step = (reach / count).clamp(min=torch.finfo(torch.float64).tiny)[:, None]
    rows, size = len(thresholds), len(points) * (count + 2)
    spectrum = torch.ones(rows, size // 2 + 1, dtype=torch.complex128)
    for x, w in zip(points, weights, strict=True):
        place = (x - x.amin(dim=1, keepdim=True)) / step
        left = place.long()
        share = place - left
        bins = torch.zeros(rows, count + 2, dtype=torch.float64)
        bins.scatter_add_(1, left, w * (1 - share)).scatter_add_(1, left + 1, w * share)
        spectrum = spectrum * torch.fft.rfft(bins, size)
    length = len(points) * (count + 1) + 1
    density = torch.fft.irfft(spectrum, size)[:, :length]
    above = density.flip(1).cumsum(1).flip(1)
    above = torch.cat((above, above.new_zeros(rows, 1)), dim=1)
    # count the share of a bin's mass beyond the threshold, by linear interpolation between bins
    place = ((thresholds - low) / step + 0.5).clamp(0, length - 1)
    left = place.long()
    return torch.lerp(above.gather(1, left), above.gather(1, left + 1), place - left)
