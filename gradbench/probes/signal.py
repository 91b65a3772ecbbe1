"""Signal-to-noise ratio of the stochastic gradient (section 3.3): ||E g||^2 / E ||g - E g||^2.

g is the gradient on one example (a tuple is one example). By micro-batches: the M mean gradients
of M independent batches of n examples and their M x M matrix of inner products K hold everything.
Off the diagonal E K_ij = ||E g||^2, on it E K_ii = ||E g||^2 + E ||g - E g||^2 / n. No gradient of
a single example is formed. (The authors' script subtracts the square of an already squared norm
when it forms the noise.)
"""

import math
from collections.abc import Iterable
from functools import singledispatch

import torch
from torch import Tensor, nn

from gradbench.probes import tuples
from gradbench.probes.gradients import Loss, squared_norms, twin
from gradbench.probes.reading import Reading, nothing, positive
from gradbench.scenario import Batch, Scenario, Target
from gradbench.scenarios.line_tuples import LineTuples

NAME = "signal-to-noise ratio"
GROUPS = 16
EXAMPLES = 1024
LEAST = 4
"""Fewest batches from which a mean over pairs and its variance can be had."""


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
    generator = torch.Generator().manual_seed(seed)
    if target is None:
        target = scenario.draw_target(generator)
    size = max(2, examples // GROUPS)
    batches = (scenario.sample(target, size, generator) for _ in range(GROUPS))
    return batches_signal_to_noise(network, scenario.loss, batches, prefix=prefix)


def batches_signal_to_noise(
    network: nn.Module, loss: Loss, batches: Iterable[Batch], *, prefix: str = ""
) -> Reading:
    """SNR per example from independent batches of one size, at least four.

    >>> import torch
    >>> network = torch.nn.Linear(5, 1)
    >>> loss = lambda outputs, labels: (outputs[:, 0] - labels).square() / 2
    >>> draws = (torch.randn(100, 5) for _ in range(32))
    >>> reading = batches_signal_to_noise(network, loss, ((x, 3 + x[:, 0]) for x in draws))
    >>> reading.resolved
    True

    Raises ValueError for fewer than four batches.
    """
    of = twin(network, loss, prefix)
    kept = list(batches)
    if len(kept) < LEAST:
        raise ValueError(f"need at least {LEAST} batches: {len(kept)}")
    rows = torch.stack([of.gradient(batch) for batch in kept])
    return ratio((rows @ rows.T).cpu(), len(kept[0][0]))


def ratio(products: Tensor, size: int) -> Reading:
    """SNR from the inner products, shape `(M, M)`, of mean gradients over `size` examples each.

    The error is of first order, from the exact variance of a mean over pairs (Hoeffding) for the
    signal and the jackknife for the noise.
    """
    count = len(products)
    signal, signal_variance = off_diagonal(products)
    diagonal = products.diagonal()
    # leaving batch i out: the same two means without its row
    rows = products.sum(dim=1) - diagonal
    without = (rows.sum() - 2 * rows) / ((count - 1) * (count - 2))
    noises = size * ((diagonal.sum() - diagonal) / (count - 1) - without)
    noise = (size * (diagonal.mean() - signal)).item()
    if not diagonal.any():
        return nothing(NAME, "the gradient is zero")
    noise_variance = (noises - noises.mean()).square().sum().item() * (count - 1) / count
    if noise <= 0:
        return positive(NAME, math.nan, math.nan)
    value = signal / noise
    error = math.sqrt(signal_variance + value**2 * noise_variance) / noise
    note = f"{count} batches of {size}"
    return positive(NAME, value, error, note=note, cost=count * size, path="batches")


def off_diagonal(products: Tensor) -> tuple[float, float]:
    """Return the mean off the diagonal of a matrix of inner products, and its variance.

    The mean is the unbiased estimate of ||E g||^2. With zeta_1 = Cov(K_ij, K_ik) and zeta_2 =
    Var(K_ij), its variance is (4 (M - 2) zeta_1 + 2 zeta_2) / (M (M - 1)), each estimated from the
    pairs themselves (without zeta_1's own bias: pairs that share no index give the squared mean).
    """
    m = len(products)
    k = products - torch.diag(products.diagonal())
    rows, squares, total = k.sum(dim=1), k.square().sum(), k.sum()
    mean = total / (m * (m - 1))
    chained = (rows.square().sum() - squares) / (m * (m - 1) * (m - 2))
    apart = (total.square() - 4 * rows.square().sum() + 2 * squares) / (
        m * (m - 1) * (m - 2) * (m - 3)
    )
    one, two = chained - apart, squares / (m * (m - 1)) - apart
    least = 1.4 * two.clamp(min=0)
    return mean.item(), ((4 * (m - 2) * one + 2 * two).clamp(min=least) / (m * (m - 1))).item()


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
    generator = torch.Generator().manual_seed(seed)
    if target is None:
        target = scenario.draw_target(generator)
    count = min(examples, EXAMPLES)
    batch = scenario.sample(target, count, generator)
    norms, path = squared_norms(twin(network, scenario.loss), batch)
    error = norms.std().item() / math.sqrt(count)
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

    By default the last layer of N1, as in the paper's figure 5.
    """
    prefix = prefix or last_layer(network)
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
    signal, variance = off_diagonal(rows @ rows.T)
    # the noise from tuples one by one: a few directions hold nearly all of it
    count = max(2, min(examples // 10, 4 * EXAMPLES))
    drawn = scenario.sample({}, count, torch.Generator().manual_seed(seed))
    norms, _ = squared_norms(of, drawn)
    noise, off = norms.mean().item() - signal, norms.std().item() / math.sqrt(count)
    value = signal / noise
    return positive(
        NAME,
        value,
        math.hypot(math.sqrt(variance), value * off) / noise,
        note=note,
        cost=groups * (3 * half + tuples.COST) + 2 * count,
        path="pools",
    )


def last_layer(network: nn.Module) -> str:
    """Return the prefix of the last parameters of N1 in a network for tuples; else ''."""
    names = [name for name, _ in network.named_parameters() if name.startswith("n1.")]
    return names[-1].rpartition(".")[0] + "." if names else ""
