"""Section 4's statements, each against iteration, sampling or plain linear algebra."""

import pytest
import torch

from gradbench import theory
from gradbench.probes import condition_number
from gradbench.scenarios.curves import Curves, inverse, second_moment, slopes_to_values
from gradbench.scenarios.draws import Draws


@pytest.mark.parametrize("n", [10, 30])
def test_condition_numbers_are_those_of_the_matrices(n):
    w = slopes_to_values(n)
    assert theory.curve_condition_number(n) == pytest.approx(
        torch.linalg.cond(w).item() ** 2, rel=1e-6
    )
    if n == 10:
        assert condition_number(w @ w.T) == pytest.approx(
            theory.curve_condition_number(n), rel=1e-4
        )


def test_lemma_2_is_population_gradient_descent_step_by_step():
    n, rate = 10, 0.02
    w, u = slopes_to_values(n), torch.zeros(10, 10, dtype=torch.float64)
    for _ in range(200):
        # the gradient of E || U W p - p ||^2 / 2 with E p p^T = I / n
        u = u - rate * (u @ w - torch.eye(n, dtype=torch.float64)) @ w.T / n
    assert torch.allclose(theory.expected_iterate(n, 200, rate), u, atol=1e-9)


def test_lemma_2_is_the_mean_of_training():
    """Of single steps of the scenario's own loss on batches of curves, over many runs."""
    n, rate, steps = 10, 0.004, 5
    scenario, total = Curves(n=n), torch.zeros(n, n, dtype=torch.float64)
    runs = 400
    for run in range(runs):
        f, p = (t.double() for t in scenario.sample({}, 20 * steps, Draws(run)))
        u = torch.zeros(n, n, dtype=torch.float64)
        for x, y in zip(f.split(20), p.split(20), strict=True):
            u = u - rate * (x @ u.T - y).T @ x / 20
        total += u / runs
    exact = theory.expected_iterate(n, steps, rate)
    assert (total - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("n", [10, 20])
def test_theorem_3_holds_along_the_trajectory(n):
    s = theory.singular_values(n)
    rate = n / s[0].item() ** 2
    for t in (1, 10, 1000):
        gap = theory.expected_iterate(n, t, rate) - inverse(n)
        direct = torch.linalg.matrix_norm(gap, 2).item()
        assert theory.distance(n, t) == pytest.approx(direct, rel=1e-6)
    steps = theory.steps_to(n)
    assert theory.distance(n, steps) < 0.5 <= theory.distance(n, steps - 1)
    assert steps >= theory.bound(n)


def test_gradient_descent_diverges_beyond_twice_the_stated_rate_and_not_before():
    n = 10
    largest = n / theory.singular_values(n)[0].item() ** 2
    assert theory.distance(n, 10**6, 1.99 * largest) < 1e-3
    along = 1.01**1000 / theory.singular_values(n)[0].item()
    assert theory.distance(n, 1000, 2.01 * largest) == pytest.approx(along, rel=1e-6)


def test_the_exact_second_moment_is_what_samples_tend_to():
    exact = theory.exact_second_moment(30)
    sampled = second_moment("text", 30, 200_000)
    assert torch.allclose(sampled, exact, rtol=0.02)
    off = [(second_moment("text", 30, m) / exact - 1).abs().max().item() for m in (100, 10_000)]
    assert off[1] < off[0]


def test_what_grows_how_fast():
    assert theory.growth(1, 50, 100) > 3.5  # theorem 3 says at least so
    assert theory.growth(4, 50, 100) == pytest.approx(3, abs=0.2)  # 4.1.2: of order n^3


def test_the_command_prints_a_row_per_size(capsys):
    theory.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(theory.SIZES)
    assert lines[0].split()[0] == "n"
