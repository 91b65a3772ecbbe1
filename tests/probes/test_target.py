"""The target's part of the gradient: by enumeration, by a second estimator, and its coverage."""

import itertools
import math

import pytest
import torch

from gradbench.probes import parity_profile, target, target_signal, variance_over_targets
from gradbench.scenarios.base import Scenario
from gradbench.scenarios.curves import Curves
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic


def enumerated(scenario, network, support):
    """|| grad F_h - mean over all parities ||^2 / G^2, each gradient from all inputs."""
    d = scenario.d
    x = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=d)), dtype=torch.float64)
    network = network.double()
    parameters = list(network.parameters())

    def gradient(values):
        found = torch.autograd.grad(values.mean(), parameters)
        return torch.cat([g.flatten() for g in found])

    mean, own = 0.0, None
    for chosen in itertools.product([0, 1], repeat=d):
        y = x[:, [i for i in range(d) if chosen[i]]].prod(dim=1)
        found = gradient(scenario.loss(network(x), y))
        mean = mean + found / 2**d
        if [i for i in range(d) if chosen[i]] == support:
            own = found
    scale = sum(gradient(network(row[None])[:, 0]).square().sum() for row in x) / 2**d
    return ((own - mean).square().sum() / scale).item()


def test_a_paritys_part_is_that_of_all_gradients_enumerated():
    scenario = Parity(d=5, weight=2)
    support = torch.tensor([1, 3])
    network = scenario.network(Draws(2))
    found = target_signal(scenario, network, target={"support": support})
    assert found.note == "exact"
    assert found.value == pytest.approx(enumerated(scenario, network, [1, 3]), rel=1e-5)


def test_the_mean_over_all_parities_is_the_variance_of_theorem_1():
    scenario = Parity(d=4, weight=1)
    network = scenario.network(Draws(3))
    parts = [
        target_signal(scenario, network, target={"support": torch.tensor(s, dtype=torch.long)})
        for n in range(5)
        for s in itertools.combinations(range(4), n)
    ]
    mean = sum(part.value for part in parts) / 16
    assert mean == pytest.approx(variance_over_targets(scenario, network).value, rel=1e-6)


def test_it_is_the_profiles_energy_and_tells_what_the_variance_does_not():
    """Untrained and solved networks, a sparse parity and a dense one."""
    found = {}
    for weight in (2, 6):
        scenario = Parity(d=12, weight=weight)
        support = {"support": torch.arange(weight)}
        for name, network in (
            ("untrained", scenario.network(Draws(1))),
            ("solved", scenario.solution(support)),
        ):
            part = target_signal(scenario, network, target=support)
            variance = variance_over_targets(scenario, network)
            found[weight, name] = part.value, variance.value * 2**12
    ratios = [relative for _, relative in found.values()]
    assert max(ratios) < 1.1 * min(ratios)
    assert found[2, "untrained"][0] > 20 * found[6, "untrained"][0]
    assert found[6, "solved"][0] > 20 * found[6, "untrained"][0]
    scenario = Parity(d=8, weight=2)
    network = scenario.network(Draws(1))
    profile = parity_profile(network, scenario.loss, 8)
    parts = [
        target_signal(scenario, network, target={"support": torch.tensor(s)}).value
        for s in itertools.combinations(range(8), 2)
    ]
    mean = sum(parts) / len(parts)
    assert mean == pytest.approx(profile.energies[2] / profile.scale, rel=0.02)  # less g(x0)/2^d


@pytest.mark.proof
@pytest.mark.parametrize("d", [8, 30])
def test_the_interval_of_a_sample_holds_the_truth_as_often_as_it_says(monkeypatch, d):
    scenario = Parity(d=d, weight=2 if d == 8 else 15)
    support = scenario.draw_target(Draws(4))
    network = scenario.network(Draws(3))
    # at d = 30 the part of a weight of 15 is below 1e-10: nothing beside a sample's noise
    true = 0.0 if d == 30 else target_signal(scenario, network, target=support).value
    monkeypatch.setattr(target, "LARGEST", 0)
    readings = [
        target_signal(scenario, network, target=support, examples=1024, seed=s) for s in range(200)
    ]
    inside = sum(r.interval[0] <= true <= r.interval[1] for r in readings)
    assert 0.90 <= inside / 200 <= 1
    values = torch.tensor([r.value for r in readings])
    assert abs(values.mean() - true) < 4 * values.std() / math.sqrt(200)


@pytest.mark.parametrize("scenario", [Periodic(d=5, r=1.0), Periodic(d=5, r=2.0, wave="square")])
def test_the_closed_form_of_waves_is_what_pairs_of_batches_measure(scenario):
    network, own = scenario.network(Draws(1)), scenario.draw_target(Draws(2))
    closed = target_signal(scenario, network, target=own, examples=20_000)
    plain = target_signal.dispatch(Scenario)
    sampled = [plain(scenario, network, target=own, examples=40_000, seed=s) for s in range(8)]
    values = torch.tensor([r.value for r in sampled])
    assert abs(values.mean() - closed.value) < 4 * values.std() / 8**0.5 + 3 * closed.error
    assert closed.path == "closed form"


@pytest.mark.proof
@pytest.mark.parametrize("scenario", [Periodic(d=5, r=2.0), Periodic(d=10, r=2.0)])
def test_the_noise_of_the_other_waves_is_taken_off_and_told(scenario):
    """The truth with 4,000 other waves; readings with about twelve, whose inputs are exact."""
    network, own = scenario.network(Draws(1)), scenario.draw_target(Draws(2))
    true = target_signal(scenario, network, target=own, examples=260_000, seed=999).value
    readings = [
        target_signal(scenario, network, target=own, examples=1300, seed=s) for s in range(60)
    ]
    values = torch.tensor([r.value for r in readings])
    assert abs(values.mean() - true) < 4 * values.std() / 60**0.5
    inside = sum(r.interval[0] <= true <= r.interval[1] for r in readings)
    assert inside >= 50  # of 60; fewer with a chance of 0.1 % at 95 %


def test_a_scenario_of_one_target_has_no_such_signal():
    reading = target_signal(Curves(approach="convolution", n=20), Curves(n=20).network(Draws(0)))
    assert (reading.value, reading.note) == (None, "the scenario has one target only")


def test_a_network_of_two_outputs_is_refused_in_words():
    scenario = Parity(d=4, weight=2)
    with pytest.raises(ValueError, match=r"a parity needs a network of outputs \(n, 1\), not"):
        target_signal(scenario, torch.nn.Linear(4, 2))
