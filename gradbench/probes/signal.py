"""Signal-to-noise ratio of the stochastic gradient (section 3.3): ||E g||^2 / E ||g - E g||^2.

g is the gradient on one example (a tuple is one example). By micro-batches: the M mean gradients
of M independent batches of n examples and their M x M matrix of inner products K hold everything.
Off the diagonal E K_ij = ||E g||^2, on it E K_ii = ||E g||^2 + E ||g - E g||^2 / n. No gradient of
a single example is formed. (The authors' script subtracts the square of an already squared norm
when it forms the noise.)
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch

import scipy
import torch
from torch import Tensor, nn

from gradbench.draws import Draws
from gradbench.probes import tuples
from gradbench.probes.gradients import Loss, Twin, each_gradient, squared_norms, twin
from gradbench.probes.reading import Z95, Reading, mean_error, nothing, positive
from gradbench.scenario import Batch, Scenario, Target
from gradbench.scenarios.line_tuples import LineTuples

NAME = "signal-to-noise ratio"
GROUPS = 16
EXAMPLES = 1024
LEAST = 16
"""Fewest batches whose spread says how far they may be off: the 95 % interval of 16 or 32 holds the
truth in 90 to 99 % of 1,000 repetitions over five noises (the least where one direction has half of
a strong gradient's variance, the most where a weak gradient lies across the noise's main ones)."""


SHARE = 0.75
"""Least share of the variance along the rows' mean that counts as the mean's own: below it few
dimensions are covered too seldom, above it many dimensions too often."""


@singledispatch
def signal_to_noise(
    scenario: Scenario,
    network: nn.Module,
    *,
    target: Target | None = None,
    examples: int = 4096,
    seed: int = 0,
    prefix: str = "",
) -> Reading:
    """SNR per example on a scenario's own data, for one target: drawn from the seed if not given.

    `prefix` chooses the parameters whose names begin with it; by default the whole network.
    """
    draws = Draws(seed)
    if target is None:
        target = scenario.draw_target(draws)
    size = max(2, examples // GROUPS)
    batches = (scenario.sample(target, size, draws) for _ in range(GROUPS))
    return batches_signal_to_noise(network, scenario.loss, batches, prefix=prefix)


def batches_signal_to_noise(
    network: nn.Module, loss: Loss, batches: Iterable[Batch], *, prefix: str = ""
) -> Reading:
    """SNR per example from independent batches of one size, at least sixteen.

    >>> import torch
    >>> network = torch.nn.Linear(5, 1)
    >>> loss = lambda outputs, labels: (outputs[:, 0] - labels).square() / 2
    >>> draws = (torch.randn(100, 5) for _ in range(32))
    >>> reading = batches_signal_to_noise(network, loss, ((x, 3 + x[:, 0]) for x in draws))
    >>> reading.resolved
    True

    Raises ValueError for fewer than sixteen batches.
    """
    of = twin(network, loss, prefix)
    kept = list(batches)
    if len(kept) < LEAST:
        raise ValueError(f"need at least {LEAST} batches: {len(kept)}")
    rows = torch.stack([of.gradient(batch) for batch in kept])
    return ratio((rows @ rows.T).cpu(), len(kept[0][0]))


def ratio(products: Tensor, size: int) -> Reading:
    """SNR from the inner products, shape `(M, M)`, of mean gradients over `size` examples each.

    The interval is the signal's, widened by the noise's own error (from the spread of the
    batches' distances to their mean).
    """
    count = len(products)
    if not products.diagonal().any():
        return nothing(NAME, "the gradient is zero")
    apart = centred(products).diagonal()
    noise = size * apart.sum().item() / (count - 1)
    if noise <= 0:
        return nothing(NAME, "every batch has the same gradient: no noise")
    off = mean_error(apart) / apart.mean().item()
    note = f"{count} batches of {size}"
    signal = squared_mean(products)
    return signal.over(noise, off, note=note, cost=count * size, path="batches")


@dataclass(frozen=True)
class SquaredMean:
    """An estimate of ||E g||^2 without bias, and its 95 % interval."""

    value: float
    low: float
    high: float

    def over(
        self, noise: float, off: float, *, note: str, cost: int, path: str, probe: str = NAME
    ) -> Reading:
        """Return the reading of its ratio to `noise`, whose relative standard error is `off`.

        E[1 / noise] is about (1 + off^2) / E noise, which is taken out.
        """
        noise *= 1 + off**2
        value = self.value / noise
        up = math.exp(min(Z95 * off, 700.0))
        low = value - math.hypot(value - self.low / noise, value * (1 - 1 / up))
        high = value + math.hypot(self.high / noise - value, value * (up - 1))
        error = (high - low) / (2 * Z95)
        return positive(probe, value, error, (low, high), note=note, cost=cost, path=path)


def squared_mean(products: Tensor) -> SquaredMean:
    """Return ||E g||^2 from the inner products, shape `(M, M)`, of M independent rows g.

    The value is the mean off the diagonal. Its variance grows with what it estimates: for normal
    rows of covariance S about a mean m it is 2 tr S^2 / (M (M - 1)) + 4 m' S m / M. So the interval
    holds every theta >= 0 for which the value lies within t standard deviations, those that theta
    itself implies (as Wilson's for a share does), m' S m being theta times the variance along the
    rows' mean, less the noise's own part of it (tr S^2 / M, but at most 1 - SHARE), and t Student's
    quantile of M - 1 degrees of freedom. tr S^2 is estimated without bias for normal rows.
    """
    count = len(products)
    value = (products.sum() - products.trace()).item() / (count * (count - 1))
    within = centred(products)
    trace = within.trace().item() / (count - 1)
    squares = within.square().sum().item() / (count - 1) ** 2
    squares -= trace**2 / (count - 1)
    squares *= (count - 1) ** 2 / ((count - 2) * (count + 1))
    on_mean = products.mean(dim=1)  # inner products with the rows' mean
    length = on_mean.mean().item()
    spread = (on_mean - length).square().sum().item() / (count - 1)
    along = max(spread - squares / count, SHARE * spread) / length if length else 0.0
    quantile = float(scipy.special.stdtrit(count - 1, 0.975)) ** 2
    middle = value + 2 * quantile * along / count
    # (value - theta)^2 = t^2 (2 squares / (M (M - 1)) + 4 along theta / M), a quadratic in theta
    rest = middle**2 - value**2 + 2 * quantile * squares / (count * (count - 1))
    half = math.sqrt(max(0.0, rest))
    return SquaredMean(value, middle - half, middle + half)


def centred(products: Tensor) -> Tensor:
    """Return the inner products of the rows less their mean, shape `(M, M)`."""
    row = products.mean(dim=1)
    return products - row[:, None] - row[None, :] + row.mean()


def second_moment(
    scenario: Scenario,
    network: nn.Module,
    *,
    target: Target | None = None,
    examples: int = 4096,
    seed: int = 0,
) -> Reading:
    """E ||g||^2 per example (equations 2 and 3: end-to-end about k times that of decomposition).

    From the gradients of at most 1024 examples, each by itself.
    """
    draws = Draws(seed)
    if target is None:
        target = scenario.draw_target(draws)
    count = min(examples, EXAMPLES)
    batch = scenario.sample(target, count, draws)
    norms, path = squared_norms(twin(network, scenario.loss), batch)
    error = mean_error(norms)
    return positive("second moment", norms.mean().item(), error, cost=count, path=path)


@signal_to_noise.register
def _tuples(
    scenario: LineTuples,
    network: nn.Module,
    *,
    target: Target | None = None,
    examples: int = 4096,
    seed: int = 0,
    prefix: str = "",
) -> Reading:
    """By pools of images where that has a closed form (see `tuples`); else as any scenario.

    By default the quantity of the paper's figure 5, as its script has it: of N1's last weights
    without their bias, and under decomposition of the first image's hinge loss alone, which does
    not depend on k. With a prefix, the gradient is that of the training loss.
    """
    if not prefix and (name := last_weights(network)):
        if scenario.approach == "decomposition":
            return _first_image(scenario, twin(network, first_hinge, name), examples, seed)
        if scenario.k == 1:
            return _first_image(scenario, twin(network, scenario.loss, name), examples, seed)
        prefix = name
    if not prefix.startswith("n1.") or not tuples.applies(scenario, network):
        plain = signal_to_noise.dispatch(Scenario)
        return plain(scenario, network, target=target, examples=examples, seed=seed, prefix=prefix)
    of = twin(network, scenario.loss, prefix)
    share = 3 * examples // 4  # the rest is for the noise
    groups = min(GROUPS, max(GROUPS // 2, share // (2 * tuples.COST)))
    half = max(2, (share // groups - tuples.COST) // 3)
    pools = [tuples.Pools(seed * GROUPS + i, scenario.k, half) for i in range(groups)]
    rows = torch.stack([tuples.pooled_gradient(of, scenario, each) for each in pools])
    note = f"{groups} pools of {2 * half} images per slot"
    if not rows.any():
        return nothing(NAME, f"nothing is seen by {note}")
    signal = squared_mean(rows @ rows.T)
    # the noise from tuples one by one: a few directions hold nearly all of it
    count = max(2, min(examples // 10, 4 * EXAMPLES))
    drawn = scenario.sample({}, count, Draws(seed))
    norms, _ = squared_norms(of, drawn)
    noise = norms.mean().item() - signal.value
    cost = groups * (3 * half + tuples.COST) + 2 * count
    return signal.over(noise, mean_error(norms) / noise, note=note, cost=cost, path="pools")


def _first_image(scenario: LineTuples, of: Twin, examples: int, seed: int) -> Reading:
    """SNR of a loss of the first image alone, from pools with as many images of either label.

    What does not know the label cancels exactly in such a pool: its mean gradient is known several
    times closer than that of random images. An image costs 1/k of a tuple.
    """
    half = max(2, 3 * examples * scenario.k // (8 * GROUPS))
    n1, rows = of.network.get_submodule("n1"), []
    for group in range(GROUPS):
        total = torch.zeros(sum(p.numel() for p in of.tensors), dtype=torch.float64)
        for chunk in tuples.Pools(seed * GROUPS + group, 1, half).chunks(0):
            images, y = of.place(chunk)
            # beyond k = 1 the loss reads the image's score alone
            one = scenario.k == 1
            outputs = of.network(images[:, None]) if one else n1(images).expand(-1, 2)
            losses = of.loss(outputs, y[:, None].expand(-1, 2))
            total += of.flat(losses.sum() / (2 * half)).cpu()
        rows.append(total)
    stacked = torch.stack(rows)
    note = f"{GROUPS} pools of {2 * half} images"
    if not stacked.any():
        return nothing(NAME, f"nothing is seen by {note}")
    signal = squared_mean(stacked @ stacked.T)
    count = max(2, min(examples // 4, 4 * EXAMPLES))
    norms, _ = squared_norms(of, scenario.sample({}, count, Draws(seed)))
    noise = norms.mean().item() - signal.value
    cost = 2 * GROUPS * half // scenario.k + count
    return signal.over(noise, mean_error(norms) / noise, note=note, cost=cost, path="pools")


def last_weights(network: nn.Module) -> str:
    """Return the name of the weights of N1's last layer in a network for tuples; else ''."""
    names = [n for n, p in network.named_parameters() if n.startswith("n1.") and p.ndim > 1]
    return names[-1] if names else ""


def first_hinge(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the hinge loss of each tuple's first image, shape `(n,)`."""
    return (1 - labels[:, 1] * outputs[:, 1]).clamp(min=0)


def published_signal_to_noise(
    scenario: LineTuples, network: nn.Module, *, examples: int = 4096, seed: int = 0
) -> float:
    """Figure 5 as its script computes it, from the gradients g of single tuples.

    ||mean g||^2 / (mean ||g||^2 - ||mean g||^4): the mean of a sample stands for the expectation,
    so that n examples without any signal give about 1/n, and the square of an already squared norm
    is subtracted from the noise.
    """
    loss = first_hinge if scenario.approach == "decomposition" else scenario.loss
    of = twin(network, loss, last_weights(network))
    rows, _ = each_gradient(of, scenario.sample({}, examples, Draws(seed)))
    signal = rows.mean(dim=0).square().sum().item()
    noise = rows.square().sum(dim=1).mean().item() - signal**2
    return signal / noise
