"""The scenarios beyond the paper: each law by a path that shares no code with the scenario."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from gradbench.scenarios import blocks as blocks_module
from gradbench.scenarios.blocks import Blocks, rotation
from gradbench.scenarios.chain import Chain
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.heavy_tails import HeavyTails, stationary_scale, student
from gradbench.scenarios.leap import Leap
from gradbench.scenarios.zipf import Zipf, descent_steps
from gradbench.training.random_streams import draws
from gradbench.training.runner import run
from gradbench.training.trial import Trial, evaluation_steps


def trained(scenario, optimizer, lr, *, seeds=3, budget=500, target=0.9):
    return run(
        [
            Trial(
                scenario=scenario,
                optimizer=optimizer,
                hyperparameters={"lr": lr},
                seed=seed,
                budget=budget,
                batch=1,
                target_score=target,
            )
            for seed in range(seeds)
        ]
    )


# Zipf's law


@pytest.mark.parametrize("d", [10, 100, 1000])
@pytest.mark.parametrize("rate", [1.0, 1.9])
def test_the_steps_of_gradient_descent_are_those_of_its_iteration(d, rate):
    """By iterating the expected errors in float64, one step after another."""
    weights = np.array([1 / k for k in range(1, d + 1)])
    shares = weights / weights.sum()
    errors, steps = np.ones(d), 0
    while (shares * errors**2).sum() > 0.1:
        errors -= rate * weights * errors
        steps += 1
    assert descent_steps(d, rate=rate) == steps


def test_steps_to_a_tenth_are_the_published_ones_and_their_exponent_is_below_one():
    """15, 99 and 717 steps at 1.9 / pi_1; the slope between 10^4 and 10^5 words."""
    assert [descent_steps(10**n, rate=1.9) for n in (2, 3, 4)] == [15, 99, 717]
    slope = math.log10(descent_steps(10**5) / descent_steps(10**4))
    assert 0.85 < slope < 0.9


@pytest.mark.parametrize("d", [100, 1000])
def test_a_trial_of_sgd_takes_the_steps_of_its_own_target(d):
    """Iterate the errors of the trial's own target; the trial is solved at the next evaluation."""
    weights = np.array([1 / k for k in range(1, d + 1)])
    for seed, result in enumerate(trained(Zipf(d=d), "sgd", weights.sum())):
        trial = Trial(scenario=Zipf(d=d), optimizer="sgd", seed=seed)
        numbers = trial.scenario.draw_target(draws(trial, "target"))["numbers"].double().numpy()
        parts = weights * numbers**2
        steps = 0
        while parts @ (1 - weights) ** (2 * steps) > 0.1 * parts.sum():
            steps += 1
        assert result.evaluations_to_target == next(
            at for at in evaluation_steps(500) if at >= steps
        )


def test_signs_take_as_many_steps_for_ten_thousand_words_as_for_a_hundred():
    sign = "adam:betas=(0.0,0.0),eps=1e-20"
    few, many = (trained(Zipf(d=d), sign, 0.1, budget=60) for d in (100, 10_000))
    assert [r.evaluations_to_target for r in few] == [r.evaluations_to_target for r in many]


# Blocks of curvature


def test_the_rotation_is_orthogonal_and_uniform_in_its_first_row():
    found = torch.stack([rotation(6, Draws(seed)) for seed in range(400)])
    eye = torch.eye(6, dtype=torch.float64)
    assert (found @ found.transpose(1, 2) - eye).abs().max() < 1e-12
    squares = found[:, 0].square()
    assert (squares.mean(dim=0) - 1 / 6).abs().max() < 4 * squares.std() / 20


@pytest.mark.parametrize(
    ("condition", "means"), [(5000, (1, 100, 5000)), (50, (1, 10, 50)), (5e5, (1, 1000, 5e5))]
)
def test_both_approaches_have_the_same_eigenvalues_near_the_blocks_means(condition, means):
    plain, turned = (Blocks(approach=name, condition=condition) for name in ("blocks", "rotated"))
    spectra = []
    for scenario in (plain, turned):
        curvature = scenario.draw_target(Draws(5))["curvature"].double()
        assert torch.allclose(curvature, curvature.T, rtol=1e-4, atol=1e-3)
        spectra.append(torch.linalg.eigvalsh((curvature + curvature.T) / 2))
    assert torch.allclose(*spectra, rtol=1e-3, atol=1e-5 * condition)
    for mean, block in zip(means, spectra[0].split(plain.n), strict=True):
        assert (block / mean - 1).abs().max() < 0.21
    blocks = plain.draw_target(Draws(5))["curvature"]
    assert blocks[: plain.n, plain.n :].abs().max() == 0
    assert turned.draw_target(Draws(5))["curvature"][: plain.n, plain.n :].abs().max() > 1


def test_sgd_follows_the_closed_form_on_either():
    """f(w_t) = sum of lambda (1 - rate lambda)^(2 t) c^2 / 2 over the eigenvectors."""
    for approach in ("blocks", "rotated"):
        scenario = Blocks(approach=approach)
        (result,) = trained(scenario, "sgd", 1e-4, seeds=1, budget=60, target=1.0)
        trial = Trial(scenario=scenario, optimizer="sgd", seed=0)
        target = scenario.draw_target(draws(trial, "target"))
        values, vectors = torch.linalg.eigh(target["curvature"].double())
        along = vectors.T @ target["minimum"].double()
        for spent, _, loss in result.curve:
            law = (values * (1 - 1e-4 * values) ** (2 * spent) * along**2).sum() / 2
            assert loss == pytest.approx(float(law), rel=1e-3)


@pytest.mark.parametrize("condition", [3, 50, 500])
def test_descents_steps_are_those_of_its_iterates(condition):
    """The distances to the minimum, iterated in float64 from equal ones."""
    curvatures = torch.tensor(Blocks(condition=condition).curvatures, dtype=torch.float64)
    rate = 2 / (curvatures[0] + curvatures[-1])
    distances, steps = torch.ones(3, dtype=torch.float64), 0
    while (curvatures * distances.square()).sum() > 1e-6 * curvatures.sum():
        distances = distances - rate * curvatures * distances
        steps += 1
    assert blocks_module.descent_steps(curvatures.tolist()) == steps


def test_adam_solves_the_blocks_and_not_their_rotation():
    for approach, solved in (("blocks", True), ("rotated", False)):
        for result in trained(Blocks(approach=approach), "adam", 0.1, budget=500, target=1.0):
            assert (result.status == "solved") is solved


# A chain of scalars


def test_a_chain_is_the_product_and_its_gradient_the_product_of_the_others():
    scenario = Chain(k=6)
    network = scenario.network(Draws(3))
    weights = [layer.weight.item() for layer in network]
    for seed in range(100):  # a third of normal starts of two weights lie beyond
        start = [layer.weight.item() for layer in Chain(k=2).network(Draws(seed))]
        assert abs(math.prod(start)) <= 0.5
    x, y = scenario.sample({}, 16, Draws(1))
    scenario.loss(network(x), y).mean().backward()
    for place, layer in enumerate(network):
        others = math.prod(w for at, w in enumerate(weights) if at != place)
        law = (math.prod(weights) - 1) * others
        assert layer.weight.grad.item() == pytest.approx(law, rel=1e-4, abs=1e-7)


@pytest.mark.proof
def test_gradient_descents_steps_grow_exponentially_with_depth():
    """In float64 by its own iteration: the median over starts, the best of three rates."""
    stream = np.random.default_rng(0)

    def steps(k, rate, start, most=4000):
        w = start.copy()
        for t in range(most):
            product = w.prod()
            if not abs(product) < 1e6:
                return most
            if abs(product - 1) < 0.1:
                return t
            others = np.array([np.delete(w, i).prod() for i in range(k)])
            w -= rate * (product - 1) * others
        return most

    medians = []
    for k in (4, 8, 12):
        starts = [w for w in stream.standard_normal((60, k)) if abs(w.prod()) <= 0.5][:15]
        rates = (0.03, 0.1, 0.3)
        medians.append(min(np.median([steps(k, rate, w) for w in starts]) for rate in rates))
    assert medians[1] / medians[0] > 1.5
    assert medians[2] / medians[1] > 1.5


# Staircase and leap


@pytest.mark.parametrize("approach", ["staircase", "leap"])
def test_the_function_has_the_monomials_that_it_says_and_no_others(approach):
    """Every Fourier coefficient, by all inputs of five bits."""
    scenario = Leap(approach=approach, d=5)
    target = scenario.draw_target(Draws(2))
    a, b, c = target["positions"].tolist()
    x = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=5)))
    y = scenario.value(x[:, target["positions"]])
    found = {}
    for size in range(6):
        for chosen in itertools.combinations(range(5), size):
            value = float((y * x[:, list(chosen)].prod(dim=1)).mean())
            if abs(value) > 1e-6:
                found[frozenset(chosen)] = value
    if approach == "leap":
        assert found == {frozenset((a, b, c)): pytest.approx(math.sqrt(3))}
    else:
        assert found == {frozenset((a,)): 1, frozenset((a, b)): 1, frozenset((a, b, c)): 1}
    assert float(y.square().mean()) == pytest.approx(3)


# Heavy tails


@pytest.mark.parametrize("nu", [1, 2, 5])
def test_the_noise_is_students(nu):
    drawn = student(nu, 2000, 10, Draws(7)).flatten().double().numpy()
    assert stats.kstest(drawn, stats.t(nu).cdf).pvalue > 0.01
    assert stats.kstest(drawn, stats.norm.cdf).pvalue < 1e-4


@pytest.mark.parametrize("rate", [0.03, 0.3])
def test_gradient_descents_error_is_cauchys_of_scale_one_at_any_rate(rate):
    """By iterating with numpy's Cauchy numbers; the median of its size is the scale."""
    assert stationary_scale(rate) == pytest.approx(1)
    noise = np.random.default_rng(1).standard_cauchy((400, 4000))
    error = np.zeros(4000)
    for z in noise:
        error = (1 - rate) * error - rate * z
    assert stats.kstest(error, stats.cauchy.cdf).pvalue > 0.01


def test_a_smaller_rate_does_not_help_against_one_degree_of_freedom_and_signs_do():
    for lr in (0.1, 0.01):
        found = trained(HeavyTails(nu=1), "sgd", lr, seeds=5, budget=1000)
        assert sum(result.status == "solved" for result in found) <= 1
    signs = trained(HeavyTails(nu=1), "adam:betas=(0.0,0.0),eps=1e-20", 0.03, seeds=5, budget=1000)
    assert all(result.final_score > 0.8 for result in signs)
