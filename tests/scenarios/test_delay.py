"""Late gradients: their age by hand, their limit by the roots of the recursion."""

import numpy as np
import pytest
import torch

from gradbench.scenarios.delay import CURVATURES, Delay, largest_rate
from gradbench.training.runner import run
from gradbench.training.trial import Trial


def trained(delay, rate, budget, **changes):
    trial = Trial(
        scenario=Delay(delay=delay),
        optimizer="sgd",
        hyperparameters={"lr": rate},
        budget=budget,
        batch=1,
        target_score=2.0,
        **changes,
    )
    return run([trial])[0]


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_a_training_pass_is_at_the_weights_of_some_passes_before(delay):
    network = Delay(delay=delay).network(None)
    shown = []
    for step in range(8):
        outputs = network(torch.ones(1, 1))
        shown.append(outputs[0, 0].item())
        outputs.sum().backward()
        assert (network.weight.grad == 1).all()
        network.weight.grad = None
        network.weight.data.fill_(step + 1.0)
        network.eval()
        assert network(torch.ones(1, 1))[0, 0] == step + 1  # at the present ones
        network.train()
    assert shown == [max(0.0, step - delay) for step in range(8)]


@pytest.mark.parametrize("delay", range(5))
def test_at_the_limit_a_root_of_the_recursion_has_size_one(delay):
    """w_(t+1) = w_t - r w_(t-delay): the largest root of z^(delay+1) - z^delay + r."""

    def largest(rate):
        return max(abs(np.roots([1, -1, *[0] * (delay - 1), rate] if delay else [1, rate - 1])))

    limit = largest_rate(delay)
    assert largest(0.99 * limit) < 1 < largest(1.01 * limit)
    assert limit == pytest.approx([2, 1, 0.618, 0.4450, 0.3473][delay], abs=1e-3)


@pytest.mark.parametrize("delay", [1, 4])
def test_trials_of_sgd_shrink_below_the_limit_and_grow_beyond(delay):
    limit = largest_rate(delay, max(CURVATURES))
    below, beyond = (trained(delay, share * limit, 2000).curve for share in (0.98, 1.02))
    losses = [loss for spent, _, loss in below if spent >= 100]
    assert losses[-1] < losses[0]
    losses = [loss for spent, _, loss in beyond if spent >= 100]
    assert losses[-1] > losses[0]


def test_probes_see_the_present_weights_and_change_nothing():
    network = Delay(delay=2).network(None)
    network.weight.data.fill_(3.0)
    assert (Delay(delay=2).probed(network)(torch.ones(1, 1)) == 3).all()
    assert (network(torch.ones(1, 1)) == 0).all()
    plain, probed = (
        trained(4, 0.02, 100, probes=probes, probe_budget=budget)
        for probes, budget in (("none", 0), ("default", 40))
    )
    assert probed.informativeness
    assert plain.curve == probed.curve
