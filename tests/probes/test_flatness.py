"""Flatness by the chain rule written out, unit by unit."""

import math

import pytest
import torch

from gradbench.probes import flatness
from gradbench.probes.flatness import gain
from gradbench.scenarios.components.staircase import sigmoid_slope, staircase
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import relu_network
from gradbench.scenarios.saturation import Saturation
from gradbench.scenarios.steps import Steps


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def measured(scenario, n=400, seed=0):
    torch.manual_seed(seed)
    network = scenario.network(Draws(seed))
    batch = scenario.sample(scenario.draw_target(Draws(1)), n, Draws(2))
    return network, batch, gain(network, scenario.loss, batch, residual=scenario.residual)


def test_nothing_comes_back_through_a_staircase_and_all_of_it_past_it():
    _, _, direct = measured(Steps(approach="direct", n=20))
    assert (direct.value, direct.resolved) == (0.0, True)
    assert "zero gradients 100.0%" in direct.note
    _, _, past = measured(Steps(approach="forward-only", n=20))
    assert past.value == pytest.approx(1.0)


def test_the_surrogates_gain_is_its_slope_weighted_by_the_residual():
    scenario = Steps(approach="surrogate", n=20, inputs="standard")
    network, (x, y), reading = measured(scenario)
    z = network.double()(x.double())[:, 0].detach()
    residual = staircase(z) - y
    slope = sigmoid_slope(z, 4)
    wanted = ((slope * residual).square().sum() / residual.square().sum()).sqrt()
    assert reading.value == pytest.approx(wanted.item(), rel=1e-9)


def test_the_message_through_sigmoids_is_the_chain_rule():
    scenario = Saturation(depth=2)
    network, (x, y), reading = measured(scenario)
    network = network.double()
    a, _, b, _, c = network
    h1 = a(x.double()).sigmoid()
    h2 = b(h1).sigmoid()
    residual = c(h2)[:, 0] - y
    at_second = residual[:, None] * c.weight[0] * h2 * (1 - h2)
    at_first = (at_second @ b.weight) * h1 * (1 - h1)
    wanted = (at_first.square().sum() / residual.square().sum()).sqrt().item()
    assert reading.value == pytest.approx(wanted, rel=1e-9)
    found = flatness(network, scenario.loss, (x, y))
    by_hand = (at_first.T @ x.double() / len(x)).norm().item()
    assert found.norms["0.weight"] == pytest.approx(by_hand, rel=1e-9)


def test_dead_units_are_those_that_no_example_reaches():
    scenario = Saturation(approach="dying", bias=3.0)
    network, (x, y), _ = measured(scenario, n=60)
    silent = (network[0](x) <= 0).all(dim=0).double().mean().item()
    found = flatness(network, scenario.loss, (x, y))
    assert 0.1 < silent < 0.99
    assert found.dead["0"] == pytest.approx(silent)
    entries = list(network.parameters())
    network.zero_grad()
    scenario.loss(network(x), y).mean().backward()
    zero = sum((p.grad == 0).sum().item() for p in entries) / sum(p.numel() for p in entries)
    assert found.zero_gradients == pytest.approx(zero)


def test_examples_at_rest_send_nothing():
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 1)
    x = torch.randn(50, 3)
    y = torch.sign(network(x)[:, 0])
    hinge = lambda p, t: (0.1 - t * p[:, 0]).clamp(min=0)  # noqa: E731
    at_rest = (y * network(x)[:, 0] > 0.1).double().mean().item()
    assert flatness(network, hinge, (x, y)).zero_messages == pytest.approx(at_rest)


def test_depth_makes_the_gain_small_and_bias_makes_units_die():
    gains = [measured(Saturation(depth=k))[2].value for k in (2, 4, 8)]
    assert gains[0] > 10 * gains[1] > 100 * gains[2] > 0
    dead = [
        flatness(n, s.loss, b).dead["0"]
        for s in (Saturation(approach="dying", bias=float(k)) for k in (0, 4, 6))
        for n, b, _ in [measured(s)]
    ]
    assert dead[0] == 0.0 < dead[1] < dead[2]


def test_convolutions_count_channels():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16, 1)
    )
    with torch.no_grad():
        network[0].bias[1] = -100.0
    batch = (torch.randn(20, 1, 4, 4), torch.randn(20))
    found = flatness(network, lambda p, t: (p[:, 0] - t).square(), batch)
    assert found.dead["0"] == 0.25


def test_a_network_without_layers_and_a_residual_of_zero_say_so():
    class Bare(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.ParameterList()

        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="no parameter"):
        flatness(Bare(), lambda p, _: p.sum(dim=1), (torch.ones(2, 1), torch.ones(2)))
    network = relu_network(3, 4, 1)
    nothing = gain(network, lambda p, _: 0 * p[:, 0], (torch.ones(8, 3), torch.ones(8)))
    assert (nothing.value, nothing.note) == (None, "the residual is zero")
    assert math.isnan(
        flatness(network, lambda p, _: 0 * p[:, 0], (torch.ones(8, 3), torch.ones(8))).gain
    )


@pytest.mark.parametrize("scenario", [Saturation(depth=2), Saturation(approach="dying", bias=1.0)])
def test_the_gains_interval_holds_the_truth_as_often_as_it_says(scenario):
    torch.manual_seed(0)
    network, target = scenario.network(Draws(0)), scenario.draw_target(Draws(1))
    many = scenario.sample(target, 100_000, Draws(2))
    true = flatness(network, scenario.loss, many).gain
    stream, inside = Draws(3), 0
    for _ in range(300):
        reading = gain(network, scenario.loss, scenario.sample(target, 128, stream))
        inside += reading.interval[0] <= true <= reading.interval[1]
    assert 0.90 <= inside / 300 <= 0.99
