"""GLMtron and Isotron against plain loops, and what they learn."""

import pytest
import torch
from scipy.optimize import isotonic_regression

from gradbench.scenarios.components.isotron import GLMtron, Isotron
from gradbench.scenarios.components.staircase import staircase
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.steps import Steps
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def problem():
    scenario = Steps(n=5, inputs="standard")
    target = scenario.draw_target(Draws(1))
    return scenario.sample(target, 40, Draws(2))


def by_hand(x, residual, w):
    norm = max(sum(v * v for v in row) for row in x.tolist())
    for j in range(len(w)):
        total = sum(r * row[j] for r, row in zip(residual, x.tolist(), strict=True))
        w[j] += total / len(x) / norm
    return w


def test_glmtron_is_the_plain_update(problem):
    x, y = problem
    learner, w = GLMtron(5, staircase), [0.0] * 5
    for _ in range(3):
        sums = [sum(a * b for a, b in zip(row, w, strict=True)) for row in x.tolist()]
        residual = [float(t - staircase(torch.tensor(s))) for t, s in zip(y, sums, strict=True)]
        w = by_hand(x, residual, w)
        learner.learn(x, y)
    assert learner.weights.tolist() == pytest.approx(w, abs=1e-5)
    assert learner(x)[:, 0].tolist() == pytest.approx((x @ torch.tensor(w)).tolist(), abs=1e-4)


def test_isotron_is_the_plain_update_with_pool_adjacent_violators(problem):
    x, y = problem
    learner, w = Isotron(5), [0.0] * 5
    learner.learn(x, y)
    w = by_hand(x, y.tolist(), w)  # before the first fit it answers 0
    assert learner.weights.tolist() == pytest.approx(w, abs=1e-5)
    sums = x @ torch.tensor(w)
    pooled = pool_adjacent_violators([y[i].item() for i in sums.argsort()])
    assert learner(x)[:, 0][sums.argsort()].tolist() == pytest.approx(pooled, abs=1e-4)


def pool_adjacent_violators(values):
    blocks = []
    for value in values:
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (b, n), (a, m) = blocks.pop(), blocks.pop()
            blocks.append(((a * m + b * n) / (m + n), m + n))
    return [value for value, count in blocks for _ in range(count)]


def test_the_twin_of_the_regression_is_a_regression():
    values = torch.randn(50, generator=generator(3), dtype=torch.float64)
    wanted = isotonic_regression(values.numpy()).x.tolist()
    assert pool_adjacent_violators(values.tolist()) == pytest.approx(wanted)


@pytest.mark.parametrize("approach", ["glmtron", "isotron"])
def test_the_learners_solve_the_steps_where_the_direct_gradient_is_zero(approach):
    scenario = Steps(approach=approach, n=20)
    trials = [Trial(scenario=scenario, optimizer=None, budget=600, seed=seed) for seed in range(5)]
    results = [run_trial(trial) for trial in trials]
    assert sum(result.status == "solved" for result in results) >= 4
    assert {result.gradient_evaluations for result in results} == {0}
    assert max(result.details["level_accuracy"] for result in results) > 0.9
