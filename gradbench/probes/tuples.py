"""The end-to-end gradient of tuples of images, averaged over all tuples that pools of images make.

A tuple's gradient is a product of k weak correlations, far below the noise of any affordable
number of random tuples. But where every hinge is active (at the start: |N2| < 1) the loss is
1 - prod y_j N2(sigma_1 .. sigma_k), and its mean over the product of k independent pools needs no
product of images. With mu_j the pool's distribution of sigma_j, each point weighted by its label,
slot i's scores are pulled by

    A_i(sigma) = sum_h a_h w_hi mu{ w_hi sigma + sum_(j != i) w_hj sigma_j + b_h > 0 }

and the distribution of a sum is a convolution: one FFT per slot and unit, on bins over which each
point is spread linearly. Pools hold as many images of either label, so what does not know
the label of some slot cancels exactly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradbench.probes.gradients import Twin
from gradbench.scenario import Batch, Scenario
from gradbench.scenarios.line_tuples import LineTuples, TupleNetwork, lines

BINS = 2**14
PER_POINT = 8
"""Bins for each point of a pool, and how many there are at most: finer than a pool's own noise."""

CHUNK = 4096
"""Images drawn and scored at once."""


@dataclass(frozen=True)
class Pools:
    """One pool of 2 `half` images per slot, drawn from its own seeds again whenever needed."""

    seed: int
    slots: int
    half: int

    def chunks(self, slot: int) -> list[Batch]:
        """Return the slot's images, shape `(n, 784)`, and labels: the first `half` of either."""
        generator = torch.Generator().manual_seed((self.seed * 1009 + slot) % 2**63)
        wanted, found = {1.0: self.half, -1.0: self.half}, []
        while any(wanted.values()):
            images, labels = lines(min(CHUNK, 4 * self.half), generator)
            keep = torch.zeros(len(labels), dtype=torch.bool)
            for sign, left in wanted.items():
                chosen = (labels == sign).nonzero()[:left, 0]
                keep[chosen] = True
                wanted[sign] = left - len(chosen)
            found.append((images[keep], labels[keep]))
        return found


def applies(scenario: Scenario, network: nn.Module) -> bool:
    """Whether the mean over pools has its closed form: N2 one ReLU layer, every hinge active."""
    if not (isinstance(scenario, LineTuples) and isinstance(network, TupleNetwork)):
        return False
    if [type(layer) for layer in network.n2.children()] != [nn.Linear, nn.ReLU, nn.Linear]:
        return False
    images, _ = scenario.sample({}, 500, torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = network(images.to(next(network.parameters())))
    reach = outputs if scenario.approach == "decomposition" else outputs[:, :1]
    return bool(reach.abs().max() < 1)


def pooled_gradient(of: Twin, scenario: LineTuples, pools: Pools) -> Tensor:
    """Return the gradient of the mean loss over all tuples that the pools make, flat, `(P,)`.

    Only through N1: N2's own parameters get none. `applies` says where it may be used.
    """
    network = of.network
    if not isinstance(network, TupleNetwork):
        raise TypeError("pools are for the network of tuples")
    with torch.no_grad():
        drawn = [
            [(network.n1(of.place(batch)[0])[:, 0], of.place(batch)[1]) for batch in chunks]
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
            part = pull[place : place + len(y)]
            total += of.flat((part * scores).sum() / len(pull)).cpu()
            place += len(y)
    return total


def pull_on(network: TupleNetwork, slot: int, sigma: list[Tensor], labels: list[Tensor]) -> Tensor:
    """Return A_slot at each of its pool's sigmas, shape `(n,)`."""
    weight, bias, last = (p.detach() for p in list(network.n2.parameters())[:3])
    out = last[0]
    others = [j for j in range(len(sigma)) if j != slot]
    pull = torch.zeros_like(sigma[slot])
    for h in range(len(out)):
        at = -bias[h] - weight[h, slot] * sigma[slot]
        parts = [(weight[h, j] * sigma[j], labels[j] / len(labels[j])) for j in others]
        pull += out[h] * weight[h, slot] * exceed(parts, at)
    return pull


def exceed(parts: list[tuple[Tensor, Tensor]], thresholds: Tensor) -> Tensor:
    """Return the signed measure of {sum of the parts > threshold}, at each threshold.

    `parts` are the points and signed weights of independent variables. Zero beyond the sum's
    reach, where weights sum to zero; one part is exact, more are binned.
    """
    if not parts:
        return (thresholds < 0).to(thresholds)
    low, high = (sum(f(x).item() for x, _ in parts) for f in (torch.min, torch.max))
    mass = 1.0
    for _, weights in parts:
        mass *= weights.sum().item()
    if low > thresholds.max() or high <= thresholds.min():
        return torch.full_like(thresholds, mass if low > thresholds.max() else 0.0)
    if len(parts) == 1:
        points, order = parts[0][0].sort()
        above = parts[0][1][order].flip(0).cumsum(0).flip(0)
        above = torch.cat((above, above.new_zeros(1)))
        return above[torch.searchsorted(points, thresholds.contiguous(), right=True)]
    count = min(BINS, 2 ** (PER_POINT * max(len(x) for x, _ in parts) - 1).bit_length())
    step = max((x.max() - x.min()).item() for x, _ in parts) / count
    size = len(parts) * (count + 2)
    spectrum, length = torch.ones(size // 2 + 1, dtype=torch.complex128), 1
    for x, weights in parts:
        place = (x - x.min()) / step
        left = place.long()
        share = place - left
        bins = torch.zeros(count + 2, dtype=torch.float64)
        bins.index_add_(0, left, weights * (1 - share)).index_add_(0, left + 1, weights * share)
        spectrum = spectrum * torch.fft.rfft(bins, size)
        length += count + 1
    density = torch.fft.irfft(spectrum, size)[:length]
    above = torch.cat((density.flip(0).cumsum(0).flip(0), density.new_zeros(1)))
    # a bin's mass counts by the share of its triangle beyond the threshold: linear between bins
    place = ((thresholds - low) / step + 0.5).clamp(0, length - 1)
    left = place.long()
    found = torch.lerp(above[left], above[left + 1], place - left)
    return torch.where(thresholds >= high, torch.zeros_like(found), found)
