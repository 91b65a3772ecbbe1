"""Signal-to-noise ratio in networks for tuples of images (figure 5), and the published estimate."""

import torch
from torch import Tensor, nn

from gradbench.probes import tuples
from gradbench.probes.gradients import NetworkCopy, each_gradient, float64_copy, squared_norms
from gradbench.probes.reading import Reading, mean_error, nothing
from gradbench.probes.signal import EXAMPLES, GROUPS, NAME, signal_to_noise, squared_mean
from gradbench.scenarios.base import Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.line_tuples import LineTuples


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
    """Return the SNR from pools of images (see `tuples`), or from batches without a closed form.

    Without a prefix it is the quantity of the paper's figure 5, as computed by the script: the
    gradient is taken by N1's last weights without their bias. Under decomposition the loss is the
    hinge loss of the first image alone, which does not depend on k. With a prefix, the gradient is
    that of the training loss.
    """
    if not prefix and (name := last_weights(network)):
        if scenario.approach == "decomposition":
            return _first_image(scenario, float64_copy(network, first_hinge, name), examples, seed)
        if scenario.k == 1:
            return _first_image(
                scenario, float64_copy(network, scenario.loss, name), examples, seed
            )
        prefix = name
    if not prefix.startswith("n1.") or not tuples.applies(scenario, network):
        plain = signal_to_noise.dispatch(Scenario)
        return plain(scenario, network, target=target, examples=examples, seed=seed, prefix=prefix)
    return _pooled(float64_copy(network, scenario.loss, prefix), scenario, examples, seed)


def _pooled(of: NetworkCopy, scenario: LineTuples, examples: int, seed: int) -> Reading:
    """Return the SNR with the signal from pools of images and the noise from single tuples."""
    share = 3 * examples // 4  # the rest is for the noise
    groups = min(GROUPS, max(GROUPS // 2, share // (2 * tuples.COST)))
    half = max(2, (share // groups - tuples.COST) // 3)
    pools = [tuples.Pools(seed * GROUPS + i, scenario.k, half) for i in range(groups)]
    rows = torch.stack([tuples.pooled_gradient(of, scenario, each) for each in pools])
    note = f"{groups} pools of {2 * half} images per slot"
    if not rows.any():
        return nothing(NAME, f"nothing is seen by {note}")
    signal = squared_mean(rows @ rows.T)
    # noise from the gradients of single tuples, since a few directions have nearly all of it
    count = max(2, min(examples // 10, 4 * EXAMPLES))
    drawn = scenario.sample({}, count, Draws(seed))
    norms, _ = squared_norms(of, drawn)
    noise = norms.mean().item() - signal.value
    cost = groups * (3 * half + tuples.COST) + 2 * count
    return signal.over(noise, mean_error(norms) / noise, note=note, cost=cost, path="pools")


def _first_image(scenario: LineTuples, of: NetworkCopy, examples: int, seed: int) -> Reading:
    """Return the SNR of a loss of the first image alone, from pools of images.

    A pool has equal numbers of images of both labels. Terms that do not depend on the label cancel
    exactly in it, so its mean gradient is several times more accurate than that of random images.
    An image costs 1/k of a tuple.
    """
    half = max(2, 3 * examples * scenario.k // (8 * GROUPS))
    n1, rows = of.network.get_submodule("n1"), []
    for group in range(GROUPS):
        total = torch.zeros(sum(p.numel() for p in of.tensors), dtype=torch.float64)
        for chunk in tuples.Pools(seed * GROUPS + group, 1, half).chunks(0):
            images, y = of.place(chunk)
            # for k > 1 the loss depends only on the image's score
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
    """Return the name of the weights of N1's last layer; '' for a network without an `n1`."""
    names = [n for n, p in network.named_parameters() if n.startswith("n1.") and p.ndim > 1]
    return names[-1] if names else ""


def first_hinge(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the hinge loss of each tuple's first image, shape `(n,)`."""
    return (1 - labels[:, 1] * outputs[:, 1]).clamp(min=0)


def published_signal_to_noise(
    scenario: LineTuples, network: nn.Module, *, examples: int = 4096, seed: int = 0
) -> float:
    """Return the SNR of figure 5 as its script computes it, from the gradients g of single tuples.

    It is ||mean g||^2 / (mean ||g||^2 - ||mean g||^4), with two flaws. The expectation is replaced
    by the mean of a sample, so n examples without any signal give about 1/n. The square of an
    already squared norm is subtracted from the noise.
    """
    loss = first_hinge if scenario.approach == "decomposition" else scenario.loss
    of = float64_copy(network, loss, last_weights(network))
    rows, _ = each_gradient(of, scenario.sample({}, examples, Draws(seed)))
    signal = rows.mean(dim=0).square().sum().item()
    noise = rows.square().sum(dim=1).mean().item() - signal**2
    return signal / noise
