"""The mathematics of piecewise-linear curves, each by a second path."""

import itertools
import math

import pytest
import torch

from gradbench.scenarios.components.knot_code import KnotCode
from gradbench.scenarios.curves import (
    SLOPES,
    Curves,
    Filter,
    inverse,
    inverse_root,
    second_moment,
    slopes_to_values,
)
from gradbench.scenarios.draws import Draws

DOUBLE = torch.float64


@pytest.mark.parametrize("n", [10, 30, 100])
def test_lemma_1_u_is_the_inverse_of_w(n):
    eye = torch.eye(n, dtype=DOUBLE)
    assert torch.equal(slopes_to_values(n) @ inverse(n), eye)
    assert torch.equal(inverse(n) @ slopes_to_values(n), eye)


def test_w_by_the_plain_definition():
    w = slopes_to_values(12)
    for i in range(12):
        for j in range(12):
            assert w[i, j] == max(0, i - j + 1)


@pytest.mark.parametrize("data", ["text", "script"])
def test_curves_are_w_times_their_changes_of_slope(data):
    f, p = Curves(approach="linear", data=data, n=40).sample({}, 200, Draws(1))
    assert torch.allclose(f.double(), p.double() @ slopes_to_values(40).T, atol=1e-4)
    assert (p != 0).sum(dim=1).max() == 3


def test_the_texts_knots_and_sizes_are_uniform():
    n = 20
    _, p = Curves(approach="linear", data="text", n=n).sample({}, 20_000, Draws(1))
    assert ((p != 0).double().mean(0) - 3 / n).abs().max() < 5 * math.sqrt(0.15 * 0.85 / 20_000)
    sizes = p[p != 0]
    assert sizes.abs().max() <= 1
    assert sizes.var().item() == pytest.approx(1 / 3, rel=0.03)
    moment = p.double().T @ p.double() / len(p)  # the assumption of lemma 2: lambda I
    assert (moment - torch.eye(n, dtype=DOUBLE) / n).abs().max() < 0.005


def test_the_scripts_slopes_are_its_four_sets():
    n = 25
    f, p = Curves(approach="linear", data="script", n=n).sample({}, 500, Draws(1))
    seen = set()
    for row, changes in zip(f.tolist(), p.tolist(), strict=True):
        knots = [t for t, change in enumerate(changes) if change]
        assert len(knots) == 3
        assert all(3 <= t <= n - 4 for t in knots)
        assert not any(row[: knots[0]])
        seen.add(tuple(round(row[t] - row[t - 1], 4) for t in knots))
    assert seen == set(SLOPES)


def test_the_auto_encoders_curves_by_their_formula():
    scenario = Curves(approach="autoencoder", data="real", n=30)
    f, labels = scenario.sample({}, 300, Draws(1))
    assert torch.equal(f, labels)
    bends = (f.double().diff(n=2, dim=1).abs() > 1e-4).sum(dim=1)
    assert bends.max() <= 6  # each real knot bends the grid's curve in at most two places


def test_lemma_2_is_the_expected_iterate_of_gradient_descent():
    """E U_t = eta lambda W^T sum_{i<t} (I - eta lambda W W^T)^i, where E[p p^T] = lambda I."""
    n, lam, steps = 12, 1 / 12, 40
    w, eye = slopes_to_values(n), torch.eye(n, dtype=DOUBLE)
    eta = 1 / (lam * torch.linalg.matrix_norm(w, 2).item() ** 2)
    u = torch.zeros(n, n, dtype=DOUBLE, requires_grad=True)
    for _ in range(steps):
        residual = (u @ w - eye) * math.sqrt(lam)  # E ||U W p - p||^2 = ||residual||^2
        (gradient,) = torch.autograd.grad(residual.square().sum() / 2, u)
        u = (u - eta * gradient).detach().requires_grad_()
    power, total = eye.clone(), torch.zeros_like(eye)
    for _ in range(steps):
        total = total + power
        power = power @ (eye - eta * lam * w @ w.T)
    assert torch.allclose(u.detach(), eta * lam * w.T @ total, atol=1e-10)


def test_the_condition_number_of_the_linear_problem_grows_as_theorem_3_says():
    sizes = [25, 50, 100, 200]
    kappas = [torch.linalg.cond(slopes_to_values(n)).item() ** 2 for n in sizes]
    growth = [math.log2(b / a) for a, b in itertools.pairwise(kappas)]
    assert min(growth) >= 3.5


def exact_moment(n):
    """C of the text's data: E[f f^T] = (1/n) W W^T, since E[p p^T] = (3/n)(1/3) I."""
    full = slopes_to_values(n) @ slopes_to_values(n).T / n
    return torch.stack([full[t - 2 : t + 1, t - 2 : t + 1] for t in range(2, n)]).mean(0)


@pytest.mark.parametrize("n", [20, 50])
def test_the_empirical_second_moment_is_the_exact_one(n):
    exact = exact_moment(n)
    assert torch.allclose(second_moment("text", n), exact, rtol=0.06)


def test_the_condition_number_of_the_filter_grows_as_n_cubed():
    kappas = [torch.linalg.cond(exact_moment(n)).item() for n in (50, 100, 200, 400)]
    growth = [math.log2(b / a) for a, b in itertools.pairwise(kappas)]
    assert all(2.7 < g < 3.3 for g in growth)


def test_the_scripts_data_is_better_conditioned_by_an_order_of_magnitude():
    text, script = (torch.linalg.cond(second_moment(d, 100)).item() for d in ("text", "script"))
    assert text > 5 * script


def test_conditioning_makes_the_second_moment_the_identity():
    c = second_moment("text", 30)
    root = inverse_root(c)
    assert torch.allclose(root @ c @ root, torch.eye(3, dtype=DOUBLE), atol=1e-6)


def test_the_filter_is_the_plain_sum_and_leaves_two_outputs_zero():
    network = Filter(torch.eye(3))
    with torch.no_grad():
        network.weight.copy_(torch.tensor([1.0, -2.0, 1.0]))
    f, p = Curves(approach="convolution", data="script", n=30).sample({}, 20, Draws(1))
    out = network(f)
    for row, got in zip(f.tolist(), out.tolist(), strict=True):
        wanted = [row[t] - 2 * row[t - 1] + row[t - 2] for t in range(2, 30)]
        assert got[2:] == pytest.approx(wanted, abs=1e-4)
        assert got[:2] == [0.0, 0.0]
    assert torch.allclose(out, p, atol=1e-4)  # the script has no knot in the first two positions


def test_the_score_is_the_distance_to_the_known_optimum():
    scenario = Curves(approach="convolution", n=20)
    examples = scenario.held_out({}, Draws(0))
    network = scenario.network(Draws(0))
    with torch.no_grad():
        network.weight.copy_(torch.tensor([1.0, -1.0, 1.0]))
    assert scenario.evaluate(network, examples)[0] == pytest.approx(1 - 1 / math.sqrt(6))

    linear = Curves(approach="linear", n=20)
    network = linear.network(Draws(0))
    with torch.no_grad():
        network.weight.copy_(0.75 * inverse(20))
    assert linear.evaluate(network, examples)[0] == pytest.approx(0.75, abs=1e-6)


def test_losses_are_the_scripts():
    f, p = torch.ones(2, 20), torch.zeros(2, 20)
    assert Curves(approach="linear", n=20).loss(f, p).tolist() == [20.0, 20.0]
    assert Curves(approach="convolution", n=20).loss(f, p).tolist() == [1.0, 1.0]


def test_an_auto_encoder_that_misses_the_kinks_is_not_praised_for_its_small_error():
    scenario = Curves(approach="autoencoder", data="real", n=50)
    f, _ = scenario.held_out({}, Draws(0))
    smooth = torch.nn.functional.avg_pool1d(f[:, None], 9, 1, 4, count_include_pad=False)[:, 0]
    explained = 1 - (smooth - f).square().sum() / f.square().sum()
    assert explained > 0.99
    assert scenario.score(smooth, f).mean() < 0.5


@pytest.mark.parametrize("n", [10, 30, 100])
def test_three_knots_and_three_sizes_are_enough_of_a_code(n):
    f, _ = Curves(approach="autoencoder", data="real", n=n).sample({}, 3000, Draws(5))
    knots, sizes = KnotCode(n).encode(f)
    assert knots.shape == sizes.shape == (3000, 3)
    plain = torch.zeros(3000, n, dtype=DOUBLE)
    for knot, size in zip(knots.T, sizes.T, strict=True):
        for t in range(n):
            plain[:, t] += size * (t - knot).clamp(min=0)
    assert (plain - f).abs().max() < 0.03
    assert torch.allclose(KnotCode(n)(f).double(), plain, atol=1e-3)


def test_the_code_of_knots_that_are_no_neighbours_is_the_true_one():
    t = torch.arange(30)
    f = 0.5 * (t - 3.25).clamp(min=0) - 0.75 * (t - 11.5).clamp(min=0) + (t - 20.0).clamp(min=0)
    knots, sizes = KnotCode(30).encode(f[None])
    order = knots[0].argsort()
    assert knots[0][order].tolist() == pytest.approx([3.25, 11.5, 20.0], abs=1e-4)
    assert sizes[0][order].tolist() == pytest.approx([0.5, -0.75, 1.0], abs=1e-4)


@pytest.mark.parametrize(
    "wrong", [{"approach": "guess"}, {"n": 3}, {"data": "none"}, {"data": "real"}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"choose from|need n|autoencoder only"):
        Curves(**wrong)


@pytest.mark.parametrize("approach", ["linear", "convolution", "conditioned", "autoencoder"])
def test_a_record_keeps_one_curve_and_its_answer(approach):
    scenario = Curves(approach=approach, data="real" if approach == "autoencoder" else "text", n=20)
    examples = scenario.held_out({}, Draws(0))
    asked, answered = scenario.details(scenario.solution({}), examples)["curve"]
    assert asked == pytest.approx(examples[1][0].tolist(), rel=1e-3)
    if approach != "autoencoder":
        assert answered[2:] == pytest.approx(asked[2:], abs=1e-3)


def test_conditioning_from_few_curves_is_worse():
    """C from m curves: the filter's own condition number behind C^(-1/2), by exact C."""
    exact = second_moment("text", 30, 200_000)
    left = []
    for m in (10, 100, 10_000):
        root = inverse_root(second_moment("text", 30, m))
        left.append(torch.linalg.cond(root @ exact @ root).item())
    assert left[0] > left[1] > left[2]
    assert left[2] < 1.2
    few = Curves(approach="conditioned", n=30, m=10)
    f, _ = Curves(approach="convolution", data=few.data, n=30).sample(
        {}, 10, Draws(0, dtype=torch.float64)
    )
    rows = f.unfold(1, 3, 1).reshape(-1, 3)
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    root = vectors @ torch.diag(values**-0.5) @ vectors.T
    given = few.network(Draws(1)).get_buffer("conditioner")
    torch.testing.assert_close(given.double(), root, rtol=1e-5, atol=1e-3)
    assert few.setting == Curves(approach="conditioned", n=30).setting
    for wrong in ({"approach": "conditioned", "m": 2}, {"approach": "linear", "m": 10}):
        with pytest.raises(ValueError, match=r"need m >= 3|m is of the conditioned"):
            Curves(**wrong)
