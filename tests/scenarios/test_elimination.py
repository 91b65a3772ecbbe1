"""Elimination over GF(2), against enumeration, and as a learner within a trial."""

import itertools
import math

import pytest
import torch

from gradbench.scenarios.components.elimination import Elimination, eliminate
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial


def every_input(d):
    return torch.tensor(list(itertools.product([1.0, -1.0], repeat=d)))


def test_elimination_recovers_every_support_of_a_small_problem():
    x = every_input(6)
    for weight in range(1, 7):
        for positions in itertools.combinations(range(6), weight):
            assert eliminate(x, x[:, list(positions)].prod(dim=1)) == list(positions)


def test_elimination_solves_d_30_from_d_plus_20_samples():
    scenario = Parity(d=30, weight=15)
    for seed in range(20):
        target = scenario.draw_target(Draws(seed))
        x, y = scenario.sample(target, 50, Draws(1000 + seed))
        assert eliminate(x, y) == target["support"].tolist()


def test_elimination_says_when_the_samples_do_not_suffice():
    scenario = Parity(d=30, weight=15)
    x, y = scenario.sample(scenario.draw_target(Draws(0)), 29, Draws(1))
    assert eliminate(x, y) is None


def test_elimination_refuses_labels_that_no_parity_gives():
    x = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    with pytest.raises(ValueError, match="no parity"):
        eliminate(x, torch.tensor([1.0, -1.0]))


def test_the_learner_waits_for_enough_examples_and_then_knows_every_label():
    scenario = Parity(d=30, weight=15)
    target = scenario.draw_target(Draws(0))
    x, y = scenario.sample(target, 60, Draws(1))
    learner = Elimination(30)
    learner.learn(x[:20], y[:20])
    assert not learner(x).any()
    learner.learn(x[20:], y[20:])
    fresh, labels = scenario.sample(target, 1000, Draws(2))
    assert torch.equal(learner(fresh)[:, 0], labels)


def test_a_learners_trial_solves_what_no_gradient_does():
    scenario = Parity(d=30, weight=15, approach="elimination")
    result = run_trial(Trial(scenario=scenario, optimizer=None, budget=10, batch=25))
    assert (result.status, result.reason) == ("solved", None)
    assert result.evaluations_to_target == 2  # 25 examples leave more than one parity, 50 do not
    assert (result.gradient_evaluations, result.forward_evaluations) == (0, 3)
    assert result.notes == []


def test_it_meets_the_targets_and_the_data_of_the_gradients():
    a, b = (
        Trial(scenario=Parity(d=30, weight=15, approach=name), optimizer=None)
        for name in ("gradient", "elimination")
    )
    assert all(a.stream(s) == b.stream(s) for s in ("target", "data", "evaluation"))


def test_a_learner_takes_no_optimizer_and_a_network_needs_one():
    learner = Parity(d=5, weight=2, approach="elimination")
    result = run_trial(Trial(scenario=learner, optimizer="adam"))
    assert (result.status, result.reason) == ("unsupported", "parity takes no optimizer here")
    result = run_trial(Trial(scenario=Parity(d=5, weight=2), optimizer=None))
    assert (result.status, result.reason) == ("unsupported", "parity needs an optimizer here")


def test_a_learner_that_raises_has_crashed():
    class Inconsistent(Parity):
        def sample(self, target, n, draws):
            x, y = super().sample(target, n, draws)
            return x, y * (torch.arange(n) % 2 * 2 - 1)

    scenario = Inconsistent(d=5, weight=2, approach="elimination")
    result = run_trial(Trial(scenario=scenario, optimizer=None, target_score=math.inf))
    assert result.status == "crashed"
    assert result.reason.startswith("ValueError: no parity fits these examples (elimination.py:")
