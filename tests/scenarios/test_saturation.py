"""What saturation's starts are, measured."""

import math

import pytest
import torch
from scipy import stats

from gradbench.scenarios.draws import Draws
from gradbench.scenarios.saturation import Saturation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def start(scenario, seed=0):
    torch.manual_seed(seed)
    return scenario.network(Draws(seed))


@pytest.mark.parametrize("bias", [0.0, 1.0, 2.0])
def test_the_bias_is_in_standard_deviations_of_the_units_input(bias):
    scenario = Saturation(approach="dying", n=50, bias=bias)
    x = torch.randn(4000, 50, generator=generator())
    share = (start(scenario)[0](x) > 0).double().mean().item()
    assert share == pytest.approx(stats.norm.sf(bias), abs=0.01)


def gradients(scenario):
    network = start(scenario)
    target = scenario.draw_target(Draws(1))
    x, y = scenario.sample(target, 512, Draws(2))
    scenario.loss(network(x), y).mean().backward()
    return [p.grad for p in network.parameters()]


def test_six_standard_deviations_below_no_unit_gets_a_gradient():
    first, first_bias, last, last_bias = gradients(Saturation(approach="dying", bias=6.0))
    assert not first.any()
    assert not first_bias.any()
    assert not last.any()
    assert last_bias.any()  # a constant can still be learned


def test_each_sigmoid_layer_shrinks_the_message():
    """By Var(w) width sigma'^2 <= 1/16 of its square: the norm falls fourfold a layer or more."""
    norms = [
        gradients(Saturation(approach="sigmoid", depth=depth))[0].norm().item()
        for depth in (2, 6, 10)
    ]
    assert norms[0] / norms[1] > 4**4 / 3
    assert norms[1] / norms[2] > 4**4 / 3


def test_the_target_has_variance_one_whatever_its_direction():
    scenario = Saturation(n=7)
    for seed in range(3):
        target = scenario.draw_target(Draws(seed))
        _, y = scenario.sample(target, 20_000, Draws(9))
        assert y.var().item() == pytest.approx(1, rel=5 * math.sqrt(2 / 20_000))


@pytest.mark.parametrize("depth", [1, 2, 20])
def test_a_linear_function_passes_through_any_depth(depth):
    scenario = Saturation(depth=depth)
    target = scenario.draw_target(Draws(1))
    x, y = scenario.sample(target, 500, Draws(2))
    assert (scenario.solution(target)(x)[:, 0] - y).square().mean() < 0.02


@pytest.mark.parametrize("wrong", [{"approach": "guess"}, {"depth": 0}, {"bias": -1.0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"choose from|need n"):
        Saturation(**wrong)
