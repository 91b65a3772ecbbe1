"""Variance of the gradient over targets (theorem 1): how much it depends on the target.

Var = E_h || grad F_h - E_h' grad F_h' ||^2 at fixed weights. Readings are Var / G^2 with
G^2 = E || dp/dw ||^2, the theorem's measure of scale: for a class H of orthonormal functions the
ratio is at most 1 / |H|. A large norm of the gradient does not show that it depends on the target.
"""

import math
from functools import singledispatch

import torch
from torch import Tensor, nn

from gradbench.probes import waves
from gradbench.probes.directions import towards_units, weighted_variance
from gradbench.probes.gradients import Loss, NetworkCopy, float64_copy, squared_norms
from gradbench.probes.parities import LARGEST, NAME, every_input, parity_variance
from gradbench.probes.reading import Reading, mean_error, nothing, positive
from gradbench.scenarios.base import Batch, Scenario
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic

TARGETS = 16
INPUTS = 1024
"""Most sampled inputs for parities: the value is then accurate to about one percent."""

FEW = 4
"""Most outputs for which gradients are computed separately."""

SIGNS = 16
LEAST = 16
"""Fewest directions of waves that are drawn."""


@singledispatch
def variance_over_targets(
    scenario: Scenario, network: nn.Module, *, examples: int = 4096, seed: int = 0
) -> Reading:
    """Return Var / G^2, with Var estimated without bias from independent targets and batches.

    With T = 16 targets t and two independent batches for each, of mean gradients a_t and b_t, Var
    is sum_t <a_t - mean a, b_t - mean b> / (T - 1): the noise of the batches is independent and
    cancels on average. `examples` are shared among the targets. The error is that over targets.

    Parities use a closed identity (see `parity_variance`). Linear-periodic functions use the
    exact expectation over inputs (see `waves`). Values far below any sample's noise are then
    resolved: to about 1 % for parities, to between a few and ten percent for waves.
    """
    draws = Draws(seed)
    targets = [scenario.draw_target(draws) for _ in range(TARGETS)]
    if not targets[0]:
        return nothing(NAME, "the scenario has one target only")
    of = float64_copy(network, scenario.loss)
    size = max(2, examples // (2 * TARGETS))
    drawn = [[scenario.sample(t, size, draws) for _ in range(2)] for t in targets]
    a, b = (torch.stack([of.gradient(pair[side]) for pair in drawn]) for side in range(2))
    products = ((a - a.mean(dim=0)) * (b - b.mean(dim=0))).sum(dim=1) * TARGETS / (TARGETS - 1)
    scale, off, path = scale_of(of, drawn[0][0])
    value = products.mean().item() / scale
    return positive(
        NAME,
        value,
        math.hypot(mean_error(products) / scale, value * off),
        cost=(2 * TARGETS + 1) * size,
        path=path,
        note=f"{TARGETS} targets, {size} examples each, twice",
    )


@variance_over_targets.register
def _parity(
    scenario: Parity, network: nn.Module, *, examples: int = 4096, seed: int = 0
) -> Reading:
    """Return the value by the identity: on all 2^d inputs, or on a sample if they are too many.

    They are too many for d > 16 and for 2^d > `examples`.

    `inputs="bits"` uses the general estimate.
    """
    if scenario.inputs != "signs":
        general = variance_over_targets.dispatch(Scenario)
        return general(scenario, network, examples=examples, seed=seed)
    draws = Draws(seed)
    sampled = scenario.d > LARGEST or 2**scenario.d > examples
    if sampled:
        count = min(examples, INPUTS)
        inputs, _ = scenario.sample({"support": torch.arange(1)}, count, draws)
    else:
        inputs = every_input(scenario.d)
    return parity_variance(network, scenario.loss, inputs, sampled=sampled)


@variance_over_targets.register
def _periodic(
    scenario: Periodic, network: nn.Module, *, examples: int = 4096, seed: int = 0
) -> Reading:
    """Return the value from the exact expectation over inputs, with at least 16 sampled targets.

    A network that is not one ReLU layer uses the general estimate.
    """
    draws = Draws(seed)
    layers = waves.layers(network)
    if layers is None:
        return variance_over_targets.dispatch(Scenario)(
            scenario, network, examples=examples, seed=seed
        )
    inputs = draws.normal(min(examples, 512), scenario.d)
    of = float64_copy(network, scenario.loss)
    scale, off, _ = scale_of(of, (inputs, torch.zeros(len(inputs))))
    square = scenario.wave == "square"
    cost = waves.COST * (waves.HARMONICS if square else 1)
    count = max(LEAST, (examples - len(inputs)) // cost)
    directions, weights = towards_units(layers, scenario.r, count, draws)
    found, moves = weighted_variance(waves.expected(layers, directions, square=square), weights)
    value = found / scale
    error = math.hypot(mean_error(moves) / scale, value * off)
    note = f"{count} targets, exact over inputs"
    spent = len(inputs) + count * cost
    return positive(NAME, value, error, cost=spent, path="closed form", note=note)


def scale_of(of: NetworkCopy, batch: Batch) -> tuple[float, float, str]:
    """Return G^2 = E || dp/dw ||^2 over all outputs, its relative error, and the path taken.

    Up to four outputs are computed separately. More are summed under random signs: the mean over
    signs of the sum's squared gradient is the sum of the outputs' squared gradients. Each sign
    vector is applied to its own part of the batch.
    """
    width = of.network(of.place(batch)[0][:1])[0].numel()
    if width <= FEW:
        parts = [squared_norms(of.output(i), batch) for i in range(width)]
        norms, path = torch.stack([n for n, _ in parts]).sum(dim=0), parts[0][1]
    else:
        signs = Draws(0).bits(SIGNS, width)
        pieces = zip(batch[0].tensor_split(SIGNS), batch[1].tensor_split(SIGNS), strict=True)
        found = [
            squared_norms(_only(of, _signed(2.0 * s - 1)), piece)
            for s, piece in zip(signs, pieces, strict=True)
            if len(piece[0])
        ]
        norms, path = torch.stack([n.mean() for n, _ in found]), found[0][1]
    scale = norms.mean().item()
    return scale, mean_error(norms) / scale, path


def _only(of: NetworkCopy, loss: Loss) -> NetworkCopy:
    return NetworkCopy(of.network, loss, of.parameters)


def _signed(signs: Tensor) -> Loss:
    return lambda outputs, _: outputs.flatten(1) @ signs.to(outputs)
