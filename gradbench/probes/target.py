"""The part of the gradient that depends on the target, for one target of a class.

For target h at fixed weights, || grad F_h - E_h' grad F_h' ||^2 / G^2 with G^2 = E || dp/dw ||^2.
Its mean over all targets is the variance of theorem 1 (`variance`). For all 2^d parities this mean
is given by an identity and hardly depends on the network. The part of one target does depend on it:
at d = 30 it is far larger for a parity of weight 2 than for one of weight 15, and training on a
target makes its part grow.
"""

import math
from functools import singledispatch

import torch
from torch import Tensor, nn

from gradbench.probes import waves
from gradbench.probes.gradients import Loss, NetworkCopy, float64_copy
from gradbench.probes.parities import LARGEST, every_input, half_gap, one_output
from gradbench.probes.reading import Reading, mean_error, nothing, positive
from gradbench.probes.signal import GROUPS, squared_mean
from gradbench.probes.variance import scale_of
from gradbench.scenarios.base import Batch, Scenario, Target
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic

NAME = "signal of the target"
OTHERS = 4
"""Fewest other waves that form the subtracted mean gradient."""


@singledispatch
def target_signal(
    scenario: Scenario,
    network: nn.Module,
    *,
    target: Target | None = None,
    examples: int = 4096,
    seed: int = 0,
) -> Reading:
    """Return the squared length of the target's part of the gradient, over G^2.

    The target is drawn from the seed if not given. Sixteen pairs of batches are drawn, the second
    of each labelled by another random target. The differences of their gradients are independent
    and their mean is the target's part, so its squared length is estimated without bias (see
    `signal.squared_mean`).

    For parities the known coefficient of the gradient is averaged over inputs: over all 2^d inputs
    up to d = 16 and `examples`, which is exact, else over a sample. Linear-periodic functions with
    one ReLU layer use a closed form.
    """
    draws = Draws(seed)
    target = scenario.draw_target(draws) if target is None else target
    if not target:
        return nothing(NAME, "the scenario has one target only")
    of, size = float64_copy(network, scenario.loss), max(2, examples // (2 * GROUPS))
    drawn = [
        (
            scenario.sample(target, size, draws),
            scenario.sample(scenario.draw_target(draws), size, draws),
        )
        for _ in range(GROUPS)
    ]
    rows = torch.stack([of.gradient(own) - of.gradient(other) for own, other in drawn])
    note = f"{GROUPS} pairs of batches of {size}"
    return _sampled(rows, of, drawn[0][0], note, cost=(2 * GROUPS + 1) * size)


def _sampled(rows: Tensor, of: NetworkCopy, batch: Batch, note: str, cost: int) -> Reading:
    """Return the reading from independent rows, shape `(M, P)`, with the target's part as mean.

    G^2 comes from `batch`.
    """
    scale, off, path = scale_of(of, batch)
    return squared_mean(rows @ rows.T).over(scale, off, probe=NAME, note=note, cost=cost, path=path)


@target_signal.register
def _parity(
    scenario: Parity,
    network: nn.Module,
    *,
    target: Target | None = None,
    examples: int = 4096,
    seed: int = 0,
) -> Reading:
    """Return the reading from E[h(x) g(x)] minus the mean over all parities, g(x0) / 2^d.

    g is as in `parities.half_gap`. `inputs="bits"` uses the general estimate.
    """
    if scenario.inputs != "signs":
        general = target_signal.dispatch(Scenario)
        return general(scenario, network, target=target, examples=examples, seed=seed)
    draws = Draws(seed)
    target = scenario.draw_target(draws) if target is None else target
    plain = float64_copy(network, scenario.loss)
    one_output(plain, scenario.d)
    of = NetworkCopy(plain.network, _labelled(scenario.loss), plain.parameters)
    origin = of.gradient((torch.ones(1, scenario.d), torch.ones(1))) / 2**scenario.d
    if scenario.d <= LARGEST and 2**scenario.d <= examples:
        inputs = every_input(scenario.d)
        batch = (inputs, inputs[:, target["support"].cpu()].prod(dim=1))
        part = of.gradient(batch) - origin
        scale, _, path = scale_of(of, batch)
        value = part.square().sum().item() / scale
        return positive(NAME, value, 0.0, note="exact", cost=len(inputs), path=path)
    size = max(2, examples // GROUPS)
    batches = [scenario.sample(target, size, draws) for _ in range(GROUPS)]
    rows = torch.stack([of.gradient(batch) - origin for batch in batches])
    note = f"{GROUPS} batches of {size}"
    return _sampled(rows, of, batches[0], note, cost=(GROUPS + 1) * size)


def _labelled(loss: Loss) -> Loss:
    """Return a function of outputs and labels; the gradient of its mean is E[h g]."""

    def labelled(outputs: Tensor, labels: Tensor) -> Tensor:
        return labels * half_gap(loss, outputs)[:, 0].detach() * outputs[:, 0]

    return labelled


@target_signal.register
def _periodic(
    scenario: Periodic,
    network: nn.Module,
    *,
    target: Target | None = None,
    examples: int = 4096,
    seed: int = 0,
) -> Reading:
    """Return the reading from the closed form over inputs, minus the mean of other waves.

    The form is in `waves`. A network that is not one ReLU layer uses the general estimate.
    """
    draws = Draws(seed)
    target = scenario.draw_target(draws) if target is None else target
    layers = waves.layers(network)
    if layers is None:
        plain = target_signal.dispatch(Scenario)
        return plain(scenario, network, target=target, examples=examples, seed=seed)
    square = scenario.wave == "square"
    inputs = draws.normal(min(examples // 2, 512), scenario.d)
    cost = waves.COST * (waves.HARMONICS if square else 1)
    count = max(OTHERS, (examples - len(inputs)) // cost - 1)
    others = torch.stack([scenario.draw_target(draws)["direction"] for _ in range(count)])
    rest = waves.expected(layers, others.double(), square=square)
    own = waves.expected(layers, target["direction"].cpu().double()[None], square=square)[0]
    of = float64_copy(network, scenario.loss)
    scale, off, _ = scale_of(of, (inputs, torch.zeros(len(inputs))))
    part = own - rest.mean(dim=0)
    # minus the bias that the noise of the others' mean adds to the square
    value = (part.square().sum() - rest.var(dim=0).sum() / count).item() / scale
    along = 2 * mean_error(rest @ part) / scale
    spent = len(inputs) + (count + 1) * cost
    note, error = f"exact over inputs, {count} other waves", math.hypot(value * off, along)
    return positive(NAME, value, error, note=note, cost=spent, path="closed form")
