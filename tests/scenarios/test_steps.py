"""The mathematics of step functions, each by a second path."""

import itertools
import math

import pytest
import scipy
import torch

from gradbench.checks.case import minimiser
from gradbench.scenarios.components.staircase import (
    LEVELS,
    Staircase,
    index,
    sigmoid_slope,
    sigmoids,
    staircase,
)
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.steps import APPROACHES, Steps
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_scripts_55_levels_are_52():
    script = [*range(-100, 100, 5), -5, -4, -3, -2, -1, -0.2, 0, 0.1, 0.15, 0.175, 1, 2, 3, 4, 5]
    assert len(script) == 55
    assert len(LEVELS) == 52
    assert sorted(set(script)) == LEVELS
    assert min(b - a for a, b in itertools.pairwise(LEVELS)) > 0


def test_u_rounds_down_by_the_plain_definition():
    z = torch.cat((torch.linspace(-130, 110, 4001), torch.tensor(LEVELS)))
    for value, got in zip(z.tolist(), staircase(z).tolist(), strict=True):
        below = [level for level in z.new_tensor(LEVELS).tolist() if level <= value]
        assert got == max(below, default=-100.0)
    assert torch.equal(index(torch.tensor(LEVELS)), torch.arange(52))


def test_labels_are_u_of_the_inner_product():
    scenario = Steps(n=6, inputs="standard")
    target = scenario.draw_target(Draws(1))
    x, y = scenario.sample(target, 300, Draws(2))
    z = x.double() @ target["weights"].double()
    assert torch.equal(y, staircase(z.float()))
    assert len(y.unique()) > 5


def test_inputs_are_the_scripts_or_standard_normal():
    target = {"weights": torch.ones(50)}
    scaled, _ = Steps(n=50).sample(target, 4000, Draws(0))
    standard, _ = Steps(n=50, inputs="standard").sample(target, 4000, Draws(0))
    assert scaled.std().item() == pytest.approx(1 / 50, rel=0.02)
    assert torch.allclose(scaled * 50, standard)


def test_the_non_flat_approximation_is_the_sum_term_by_term():
    z = torch.linspace(-8, 8, 301, dtype=torch.float64)
    for value, got in zip(z.tolist(), sigmoids(z, 50, 1 / 20).tolist(), strict=True):
        total = LEVELS[0]
        for low, high in itertools.pairwise(LEVELS):
            gap = high - low
            slope, centre = 5 / (gap / 10), high - gap / 20
            total += gap / (1 + math.exp(-max(-700, min(700, slope * (value - centre)))))
        assert got == pytest.approx(total, abs=1e-9)


def test_the_non_flat_approximation_tends_to_u():
    z = torch.linspace(-7.3, 7.3, 2000, dtype=torch.float64)
    far = (z[:, None] - z.new_tensor(LEVELS)).abs().min(dim=1).values > 0.01
    assert torch.allclose(sigmoids(z, 1e5)[far], staircase(z)[far], atol=1e-6)


def test_the_surrogates_slope_is_the_derivative_of_its_sigmoids():
    z = torch.linspace(-6, 6, 200, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(sigmoids(z, 4).sum(), z)
    assert torch.allclose(sigmoid_slope(z, 4), slope)


def gradient(approach, x, y, weights):
    scenario = Steps(approach=approach, n=x.shape[1], inputs="standard")
    unit = scenario.network(Draws(0))
    with torch.no_grad():
        unit[0].weight.copy_(weights)
    scenario.loss(unit(x), y).mean().backward()
    return unit[0].weight.grad[0], unit[0].bias.grad


@pytest.fixture
def problem():
    x, v = torch.randn(64, 5, generator=generator(1)), torch.randn(5, generator=generator(2))
    return x, staircase(x @ v), torch.randn(5, generator=generator(3))


def test_the_direct_gradient_is_exactly_zero(problem):
    weight, bias = gradient("direct", *problem)
    assert not weight.any()
    assert not bias.any()


def test_forward_only_is_glmtron_by_hand(problem):
    x, y, w = problem
    weight, bias = gradient("forward-only", x, y, w)
    residual = [float(staircase(row @ w)) - float(label) for row, label in zip(x, y, strict=True)]
    by_hand = sum(r * row for r, row in zip(residual, x, strict=True)) / len(x)
    assert torch.allclose(weight, by_hand, atol=1e-5)
    assert bias.item() == pytest.approx(sum(residual) / len(x), abs=1e-5)


def test_straight_through_is_forward_only_within_its_window_and_zero_beyond(problem):
    x, y, w = problem
    near = w / 10 / (x @ w).abs().max()
    inside = gradient("straight-through", x, y, near)
    assert torch.equal(inside[0], gradient("forward-only", x, y, near)[0])
    outside = gradient("straight-through", x * 0 + 1, y, w * 0 + 0.21)  # 5 times 0.21 is 1.05
    assert not outside[0].any()


@pytest.mark.proof
@pytest.mark.parametrize("target", [pytest.param(0.5, marks=pytest.mark.proof), 1.5])
def test_straight_through_cannot_carry_a_bias_past_its_window(target):
    """By plain gradient descent in the paper's coordinates, where b begins at 0."""
    x = torch.randn(4000, 20, generator=generator(1)) / 20
    v = torch.randn(20, generator=generator(2))
    y = staircase(x @ v)
    w, b = torch.zeros(20), torch.zeros(())
    for _ in range(3000):
        z = x @ w + b
        message = (staircase(z + target) - y) * (z.abs() <= 1)
        w, b = w - 10 * (message[:, None] * x).mean(dim=0), b - 0.1 * message.mean()
    reached = (index(x @ w + b + target) == index(x @ v)).float().mean()
    scenario = Steps(approach="straight-through", n=20, start=target)
    unit = scenario.network(Draws(0))
    with torch.no_grad():
        unit[0].weight.zero_()
    for _ in range(3000):
        loss = scenario.loss(unit(x), y).mean()
        gradients = torch.autograd.grad(loss, list(unit.parameters()))
        with torch.no_grad():
            for p, g, rate in zip(unit.parameters(), gradients, (10, 0.1), strict=True):
                p.sub_(rate * g)
    with torch.no_grad():
        same = (index(unit(x)[:, 0]) == index(x @ v)).float().mean()
    assert same == pytest.approx(reached.item(), abs=0.02)
    assert (same > 0.9) == (target < 1)


def test_the_scripts_start_is_the_same_problem_moved_by_a_normal_bias():
    moved, fixed = Steps(n=20, start="script"), Steps(n=20)
    biases = []
    for seed in range(200):
        target = moved.draw_target(Draws(seed))
        assert torch.equal(target["weights"], fixed.draw_target(Draws(seed))["weights"])
        biases.append(float(target["bias"]))
    assert abs(sum(biases) / 200) < 4 / 200**0.5
    assert 0.8 < torch.tensor(biases).std() < 1.2
    x, labels = moved.sample(target, 500, Draws(1))
    assert torch.equal(labels[:, 0], fixed.sample(target, 500, Draws(1))[1])
    assert moved.network(Draws(1))[0].bias.item() == 0
    begun = Steps(n=20, start=-biases[-1])
    ours, theirs = moved.network(Draws(2)), begun.network(Draws(2))
    for a in ("forward-only", "non-flat", "surrogate", "straight-through"):
        one, other = (Steps(approach=a, n=20, start=s) for s in ("script", -biases[-1]))
        found = [
            torch.autograd.grad(scenario.loss(unit(x), y).mean(), list(unit.parameters()))
            for scenario, unit, y in ((one, ours, labels), (other, theirs, labels[:, 0]))
        ]
        for p, q in zip(*found, strict=True):
            assert torch.allclose(p, q, atol=1e-5)


def test_the_minimiser_of_the_non_flat_loss_is_not_the_true_unit():
    """By quadrature: a unit c v*, b sees x through <v*, x> alone, which is normal."""
    scenario = Steps(approach="non-flat", n=20)
    target = scenario.draw_target(Draws(0))
    s = torch.linspace(-6, 6, 20_001, dtype=torch.float64) * target["weights"].norm() / 20
    density = (-(s / s[-1] * 6).square() / 2).exp()
    density /= density.sum()

    def loss(at):
        z = at[0] * s + at[1]
        return float(density @ (sigmoids(z, 50, 1 / 20) - staircase(s)).square()) / 2

    c, b = scipy.optimize.minimize(loss, (1.0, 0.0), method="Nelder-Mead").x
    assert loss((c, b)) < loss((1, 0)) / 3
    right = (density * (index(c * s + b) == index(s))).sum()
    examples = scenario.held_out(target, Draws(8))
    found = minimiser(scenario, target, Draws(7))
    along = found[0].weight.detach()[0] @ target["weights"] / target["weights"].square().sum()
    assert along.item() == pytest.approx(c, abs=0.01)
    assert found[0].bias.item() == pytest.approx(b, abs=0.01)
    reached = scenario.details(found, examples)["level_accuracy"]
    assert reached == pytest.approx(float(right), abs=0.02)
    assert 0.8 < scenario.evaluate(found, examples)[0] < 0.9


def test_the_staircase_batches_under_vmap(problem):
    x, _, w = problem
    gain = torch.full((64,), 0.5)
    loop = [torch.func.grad(Staircase.apply)(z, g) for z, g in zip(x @ w, gain, strict=True)]
    batched = torch.func.vmap(torch.func.grad(Staircase.apply))(x @ w, gain)
    assert torch.equal(batched, torch.stack(loop))
    assert torch.equal(batched, gain)


def test_a_networks_value_is_taken_to_the_nearest_level():
    scenario = Steps(approach="end-to-end", n=3)
    outputs = torch.tensor([[0.149], [0.12], [0.13], [-0.7], [4.51], [99.0], [-200.0]])
    nearest = [min(LEVELS, key=lambda level: abs(level - float(o))) for o in outputs]
    assert scenario.score(outputs, torch.tensor(nearest)).tolist() == [1.0] * 7


@pytest.mark.parametrize("approach", APPROACHES)
def test_details_are_the_plain_measures(approach):
    scenario = Steps(approach=approach, n=10)
    target = scenario.draw_target(Draws(1))
    examples = scenario.held_out(target, Draws(2))
    perfect = scenario.details(scenario.solution(target), examples)
    answers = perfect.pop("answers")
    assert perfect == {"level_accuracy": 1.0, "mse_over_variance": 0.0}
    assert all(true == said for true, said in answers)
    assert answers == sorted(answers)
    _, labels = examples
    share = labels.unique(return_counts=True)[1].max().item() / len(labels)
    constant = scenario.details(scenario.trivial(target), examples)
    if approach not in {"direct", "non-flat", "forward-only", "straight-through", "surrogate"}:
        assert constant["level_accuracy"] == pytest.approx(share, abs=0.02)
    assert constant["mse_over_variance"] >= 1 - 1e-3


def test_the_direct_approach_never_moves_and_says_so():
    result = run_trial(
        Trial(scenario=Steps(approach="direct", n=10), optimizer="adam:lr=0.1", budget=20)
    )
    assert (result.status, result.notes) == ("unsolved", ["parameters did not move"])
    assert set(result.details) == {"level_accuracy", "mse_over_variance", "answers"}


def test_approaches_meet_the_same_targets_and_data():
    streams = {
        Trial(scenario=Steps(approach=a, n=10), optimizer="sgd").stream("data") for a in APPROACHES
    }
    assert len(streams) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        *({"approach": "guess"}, {"inputs": "huge"}, {"n": 0}, {"start": "text"}),
        {"approach": "isotron", "start": "script"},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"choose from|need n|start"):
        Steps(**wrong)
