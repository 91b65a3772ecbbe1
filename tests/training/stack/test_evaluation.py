"""Rows that are evaluated together have the scores and losses of networks evaluated apart."""

import copy

import pytest
import torch

from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.allocation import Allocation
from gradbench.scenarios.curves import Curves
from gradbench.scenarios.line_tuples import LineTuples
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic
from gradbench.scenarios.saturation import Saturation
from gradbench.scenarios.steps import Steps
from gradbench.training.random_streams import isolated
from gradbench.training.stack import evaluation
from gradbench.training.stack.loop import Stack
from gradbench.training.state import TrialState
from gradbench.training.trial import Trial

SCENARIOS = {
    "allocation": Allocation(d=20, k=3),
    "matrix": Curves(approach="linear", n=12),
    "filter": Curves(approach="convolution", n=12),
    "conditioned": Curves(approach="conditioned", n=12),
    "tuples": LineTuples(k=2),
    "parity": Parity(d=5, weight=2),
    "periodic": Periodic(d=5, r=1),
    "sigmoids": Saturation(depth=3),
    "unit": Steps(n=10),
    "levels": Steps(approach="multi-class", n=10),
    "script": Steps(n=10, start="script"),
}


def trained(scenario, seeds=(0, 1, 2, 0)):
    """Return a stack of trials after some steps; the last has the seed of the first."""
    trials = [
        Trial(
            scenario=scenario,
            optimizer="adam",
            seed=seed,
            budget=20,
            batch=16,
            target_score=2.0,
            hyperparameters={"lr": 0.01 * (number + 1)},
        )
        for number, seed in enumerate(seeds)
    ]
    stack = Stack([TrialState(t, TrialResult(t.seed, Status.UNSOLVED)) for t in trials])
    stack.advance(20)
    return stack


@pytest.mark.parametrize("name", SCENARIOS)
def test_rows_score_as_their_networks_do_apart(name, monkeypatch):
    """In float64; in float32 where labels are levels that float64 does not have."""
    monkeypatch.setattr(evaluation, "NUMBERS", 2**20)  # some examples at once
    scenario = SCENARIOS[name]
    with isolated(
        Trial(scenario=scenario, optimizer="adam", budget=20, batch=16, target_score=2.0)
    ):
        stack = trained(scenario)
        assert evaluation.possible(scenario)
        found = evaluation.Evaluation(stack.rows, stack.states)()
        for measured, state in zip(found, stack.states, strict=True):
            dtype = torch.float32 if isinstance(scenario, Steps) else torch.float64
            exact = copy.deepcopy(state.network).to(dtype).eval()
            inputs, labels = (part.to(dtype) for part in state.held_out)
            score, loss = scenario.evaluate(exact, (inputs, labels))
            assert measured.score == pytest.approx(score, abs=2e-3)  # some answers may round over
            assert measured.loss == pytest.approx(loss, rel=1e-4)
            assert measured.finite


def test_a_row_that_is_not_finite_is_said_and_the_others_are_not():
    with isolated(
        Trial(scenario=SCENARIOS["parity"], optimizer="adam", budget=20, batch=16, target_score=2.0)
    ):
        stack = trained(SCENARIOS["parity"])
        with torch.no_grad():
            next(iter(stack.states[2].network.parameters()))[0, 0] = float("nan")
        found = evaluation.Evaluation(stack.rows, stack.states)()
    assert [each.finite for each in found] == [True, True, False, True]


class Ranked(Parity):
    """A user's scenario whose scores depend on the other examples."""

    def score(self, outputs, labels):
        return (outputs[:, 0] > outputs[:, 0].median()).to(labels)


@pytest.mark.parametrize(
    "scenario",
    [
        Ranked(d=5, weight=2),
        Curves(approach="linear", data="script", n=12),
        Curves(approach="autoencoder", data="real", n=12),
    ],
)
def test_scores_that_may_depend_on_other_examples_are_computed_for_each_network(scenario):
    assert not evaluation.possible(scenario)
