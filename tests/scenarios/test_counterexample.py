"""Adam's counter-example: its gradients by counting, its law by iterating Adam."""

import math

import pytest
import torch

from gradbench.scenarios.counterexample import Counterexample, adam_drift, beta2_threshold
from gradbench.scenarios.draws import Draws
from gradbench.training.runner import run
from gradbench.training.trial import Trial

PUBLISHED = Counterexample(period=101, excess=1 / 101)


def final_score(optimizer, lr, scenario, budget=1500):
    trial = Trial(
        scenario=scenario,
        optimizer=optimizer,
        hyperparameters={"lr": lr},
        budget=budget,
        batch=1,
        target_score=0.9,
    )
    return run([trial])[0].final_score


@pytest.mark.parametrize("period", [2, 11, 101])
def test_every_weight_has_one_large_gradient_a_period_and_the_stated_mean(period):
    scenario = Counterexample(period=period, excess=0.5)
    target = scenario.draw_target(Draws(2))
    assert set(target["optimum"].tolist()) <= {-1.0, 1.0}
    _, gradients = scenario.sample(target, 3 * period, Draws(1))
    gradients = -gradients * target["optimum"]  # as toward an optimum of -1
    large = gradients == scenario.large
    assert (large.sum(dim=0) == 3).all()
    assert (large.sum(dim=1) == 1).all()
    assert (gradients[~large] == -1).all()
    assert torch.allclose(gradients.mean(dim=0), torch.full((period,), 0.5), atol=1e-5)


def test_a_long_period_has_equally_spaced_phases():
    scenario = Counterexample(period=303)
    _, gradients = scenario.sample({"optimum": -torch.ones(101)}, 303, Draws(1))
    assert gradients.shape == (303, 101)
    assert (gradients == scenario.large).nonzero()[:, 0].diff().unique().tolist() == [3]
    long = Counterexample(period=10_001)
    _, gradients = long.sample({"optimum": -torch.ones(101)}, 10_001, Draws(1))
    assert ((gradients > 0).sum(dim=0) == 1).all()


def test_time_goes_on_where_the_last_batch_ended():
    target = {"optimum": torch.ones(7)}
    _, whole = Counterexample(period=7).sample(target, 20, Draws(1))
    _, later = Counterexample(period=7).sample(target, 8, Draws(1, first=12))
    assert torch.equal(whole[12:], later)


def test_at_random_the_large_gradient_is_as_frequent():
    scenario = Counterexample(approach="random", period=11)
    _, gradients = scenario.sample({"optimum": -torch.ones(100)}, 4000, Draws(3))
    share = (gradients == scenario.large).double().mean().item()
    assert share == pytest.approx(1 / 11, abs=4 * math.sqrt(1 / 11 / 400_000))


def iterated(scenario, beta1, beta2, periods):
    """Return Adam's mean step over the last period, by its definition, a number at a time."""
    m = v = 0.0
    for t in range(1, periods * scenario.period + 1):
        g = scenario.large if t % scenario.period == 1 else -1.0
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        if t == (periods - 1) * scenario.period:
            moved = 0.0
        elif t > (periods - 1) * scenario.period:
            moved -= (m / (1 - beta1**t)) / math.sqrt(v / (1 - beta2**t))
    return moved / scenario.period


@pytest.mark.parametrize("scenario", [Counterexample(period=11), Counterexample(), PUBLISHED])
@pytest.mark.parametrize("betas", [(0.9, 0.99), (0.0, 0.9), (0.5, 0.999)])
def test_the_drift_is_that_of_iterated_adam(scenario, betas):
    periods = max(3, math.ceil(25 / (1 - betas[1]) / scenario.period))
    assert adam_drift(scenario, betas[1], betas[0]) == pytest.approx(
        iterated(scenario, *betas, periods), rel=1e-6
    )


@pytest.mark.parametrize("period", [11, 101])
def test_iterated_adam_turns_within_two_percent_of_the_threshold(period):
    scenario = Counterexample(period=period)
    short = 1 - beta2_threshold(scenario, beta1=0.0)
    periods = math.ceil(25 / short / period)
    assert iterated(scenario, 0.0, 1 - 1.02 * short, periods) > 0
    assert iterated(scenario, 0.0, 1 - 0.98 * short, periods) < 0


def test_the_threshold_nears_one_with_the_period_and_is_above_the_default_as_published():
    short = [1 - beta2_threshold(Counterexample(period=p), beta1=0.0) for p in (11, 101, 1001)]
    assert short[0] > 8 * short[1] > 60 * short[2]
    assert 0.999 < beta2_threshold(PUBLISHED) < 0.9999


def test_descent_goes_to_the_optimum_and_what_forgets_to_the_other_end():
    assert final_score("sgd", 0.1, Counterexample()) > 0.9
    assert final_score("adam:betas=(0.0,0.9)", 0.1, Counterexample()) < -0.9
    assert final_score("adam:betas=(0.0,0.9999)", 0.1, Counterexample(period=11)) > 0.9
