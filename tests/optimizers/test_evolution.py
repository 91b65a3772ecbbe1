"""Evolution strategies: the estimate against gradients that are known, and what a step costs."""

import math

import pytest
import torch

from gradbench.optimizers.evolution import EvolutionStrategies
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.steps import Steps
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial


def estimates(loss, start, times, **options):
    """The estimates of so many steps from the same start, shape `(times, n)`."""
    found = []
    parameter = torch.nn.Parameter(start.clone())
    optimizer = EvolutionStrategies([parameter], lr=1.0, **options)
    for _ in range(times):
        with torch.no_grad():
            parameter.copy_(start)
        optimizer.step(lambda: loss(parameter))
        found.append(start - parameter.detach())
    return torch.stack(found)


def unbiased(found, wanted):
    error = found.std(dim=0) / math.sqrt(len(found))
    return ((found.mean(dim=0) - wanted).abs() / error).max() < 4.5


def test_the_estimate_is_unbiased_for_the_gradient_of_a_quadratic():
    torch.manual_seed(0)
    a = torch.randn(4, 4, dtype=torch.float64)
    b, start = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)

    def loss(w):
        return (a @ w).square().sum() / 2 + b @ w

    found = estimates(loss, start, 3000, sigma=0.3, pairs=2)
    wanted = a.T @ a @ start + b
    assert unbiased(found, wanted)
    assert not unbiased(found, 1.2 * wanted)


def test_the_estimate_is_the_gradient_of_the_smoothed_loss_where_the_loss_is_flat():
    """F = sign(w) has the gradient 0; smoothed by N(0, s^2) it is erf(w / (s sqrt 2))."""
    torch.manual_seed(1)
    w, sigma = 0.2, 0.5
    start = torch.tensor([w], dtype=torch.float64)
    found = estimates(lambda p: p.sign().sum(), start, 6000, sigma=sigma, pairs=1)
    slope = 2 * math.exp(-(w**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    assert unbiased(found, torch.tensor([slope], dtype=torch.float64))


def test_parameter_groups_keep_their_rates():
    torch.manual_seed(2)
    a, b = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = EvolutionStrategies([{"params": [a], "lr": 1e-6}, {"params": [b], "lr": 0.01}])
    optimizer.step(lambda: a.sum() + b.sum())
    assert 0 < (a - 1).abs().max() < 1e-3 < (b - 1).abs().max()


def test_a_step_spends_two_forward_evaluations_a_pair_and_no_gradient():
    t = Trial(scenario=Parity(d=5, weight=2), optimizer="es:pairs=3", budget=60, target_score=9.0)
    result = run_trial(t)
    assert (result.gradient_evaluations, result.forward_evaluations) == (0, 60)
    assert sum(steps for _, steps in result.blocks) == 10
    assert run_trial(t).curve == result.curve


def test_it_moves_where_the_direct_gradient_is_zero():
    flat = Steps(approach="direct", n=20, inputs="standard")
    t = Trial(scenario=flat, optimizer="es:lr=0.1", budget=2000, target_score=9.0)
    assert run_trial(t).final_score > 0.2


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"sigma": -1.0}, {"pairs": 0}])
def test_arguments_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="need lr, sigma > 0"):
        EvolutionStrategies([torch.nn.Parameter(torch.ones(1))], **wrong)
