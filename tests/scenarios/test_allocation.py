"""The mathematics of the allocation over k stocks, each by a second path."""

import itertools

import pytest
import torch

from gradbench.scenarios.allocation import Allocation
from gradbench.scenarios.draws import Draws
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial

D, K = 3, 4


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def every_example(stock):
    """All d inputs with all signs that the other stocks can have, equally likely."""
    inputs, labels = [], []
    for x, y in enumerate(stock):
        for signs in itertools.product([-1.0, 1.0], repeat=K):
            if signs[y] == 1:
                inputs.append(torch.eye(D, dtype=torch.float64)[x])
                labels.append(torch.tensor([*signs, y], dtype=torch.float64))
    return torch.stack(inputs), torch.stack(labels)


def gradients(approach, stock, weights):
    """Each example's own gradient of the weights, shape `(n, k, d)`."""
    scenario = Allocation(approach=approach, d=D, k=K)
    x, labels = every_example(stock)

    def loss(w, inputs, label):
        return scenario.loss((w @ inputs)[None], label[None])[0]

    each = [torch.func.grad(loss)(weights, a, b) for a, b in zip(x, labels, strict=True)]
    return torch.stack(each)


@pytest.fixture
def weights():
    return torch.randn(K, D, generator=generator(3), dtype=torch.float64)


def test_both_estimators_are_unbiased_for_the_same_gradient(weights):
    stock = [2, 0, 3]
    ends, parts = (gradients(a, stock, weights) for a in ("end-to-end", "decomposition"))
    exact = weights.clone().requires_grad_()
    p = exact.softmax(dim=0)
    (-(p[stock, range(D)]).mean()).backward()
    assert torch.allclose(ends.mean(0), exact.grad, atol=1e-12)
    assert torch.allclose(parts.mean(0), exact.grad, atol=1e-12)
    assert not torch.allclose(ends, parts)


def test_at_the_start_the_second_moment_end_to_end_is_k_times_larger():
    """Equations 2 and 3: in closed form at the uniform allocation.

    There dp_i/da_j = (delta_ij - 1/k) / k, so |grad of p_y|^2 = (1 - 1/k) / k^2, and the fair
    signs of the k - 1 others add (k - 1) (1 - 1/k) / k^2 on average: a ratio of k.
    """
    zero = torch.zeros(K, D, dtype=torch.float64)
    moments = {
        a: gradients(a, [2, 0, 3], zero).square().sum((1, 2)).mean().item()
        for a in ("end-to-end", "decomposition")
    }
    assert moments["decomposition"] == pytest.approx((1 - 1 / K) / K**2)
    assert moments["end-to-end"] / moments["decomposition"] == pytest.approx(K)


def test_the_evaluation_is_the_exact_expectation(weights):
    scenario = Allocation(approach="end-to-end", d=D, k=K)
    stock = torch.tensor([2, 0, 3])
    network = scenario.network(Draws(0))
    with torch.no_grad():
        network.weight.copy_(weights)
    score, loss = scenario.evaluate(network, scenario.held_out({"stock": stock}, Draws(0)))
    x, labels = every_example(stock.tolist())
    with torch.no_grad():
        sampled = scenario.loss(network(x.float()), labels.float()).mean().item()
    assert loss == pytest.approx(sampled, abs=1e-6)
    assert score == pytest.approx((-loss - 1 / K) / (1 - 1 / K), abs=1e-6)


def test_examples_are_drawn_as_stated():
    scenario = Allocation(d=D, k=K)
    stock = torch.tensor([2, 0, 3])
    x, labels = scenario.sample({"stock": stock}, 40_000, Draws(1))
    z, y = labels[:, :-1], labels[:, -1].long()
    assert torch.equal(y, stock[x.argmax(dim=1)])
    assert torch.equal(x.sum(dim=1), torch.ones(40_000))
    assert torch.equal(z.gather(1, y[:, None]), torch.ones(40_000, 1))
    assert set(z.unique().tolist()) == {-1.0, 1.0}
    assert (x.mean(0) - 1 / D).abs().max() < 0.02
    others = torch.ones_like(z).scatter(1, y[:, None], 0)
    assert ((z * others).sum(0) / others.sum(0)).abs().max() < 0.03


def test_approaches_meet_the_same_data():
    target = {"stock": torch.tensor([2, 0, 3])}
    a, b = (
        Allocation(approach=name, d=D, k=K).sample(target, 10, Draws(1))
        for name in ("end-to-end", "decomposition")
    )
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])


def test_the_published_eps_is_the_scripts_and_follows_the_gradients_scale():
    """An example's share of the gradient is of size 1 / (B k), with B = d / 10 as in the suites."""
    assert Allocation(d=1000, k=10).published == "adam:lr=0.1,betas=(0.9,0.99),eps=1e-05"
    ratios = []
    for d in (100, 1000):
        scenario = Allocation(approach="decomposition", d=d, k=10)
        x, labels = scenario.sample(scenario.draw_target(Draws(1)), 1, Draws(2))
        weight = torch.zeros(10, d, requires_grad=True)
        (scenario.loss(x @ weight.T, labels).sum() / (d // 10)).backward()
        ratios.append(float(scenario.published.split("eps=")[1]) / weight.grad.abs().max().item())
    assert ratios[0] == pytest.approx(ratios[1])


def test_half_precision_does_not_round_the_stocks_number():
    scenario = Allocation(approach="decomposition", d=50, k=2000)
    t = Trial(scenario=scenario, optimizer="sgd:lr=0.1", budget=3, batch=10, dtype="bfloat16")
    assert run_trial(t).reason is None
    stock = torch.tensor([1999, 1001, 257])
    torch.set_default_dtype(torch.bfloat16)
    try:
        _, labels = Allocation(d=3, k=2000).sample({"stock": stock}, 50, Draws(0))
    finally:
        torch.set_default_dtype(torch.float32)
    assert set(labels[:, -1].tolist()) <= {1999.0, 1001.0, 257.0}


@pytest.mark.parametrize("wrong", [{"approach": "guess"}, {"k": 1}, {"d": 0}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"choose from|need d"):
        Allocation(**wrong)


def test_the_scale_multiplies_the_loss_and_nothing_else():
    plain, small = (Allocation(d=6, k=4, scale=s) for s in (1.0, 1e-3))
    target = plain.draw_target(Draws(1))
    _, labels = plain.sample(target, 50, Draws(2))
    outputs = torch.randn(50, 4, generator=generator(1))
    assert torch.allclose(small.loss(outputs, labels), 1e-3 * plain.loss(outputs, labels))
    assert torch.equal(small.score(outputs, labels), plain.score(outputs, labels))
    assert small.setting == plain.setting
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="scale > 0"):
            Allocation(scale=wrong)


def test_a_small_loss_is_a_large_eps():
    """Adam at scale s and eps e goes where it goes at scale 1 and eps e / s."""
    ends = []
    for scale, eps in ((1e-4, 1e-8), (1.0, 1e-4)):
        scenario = Allocation(d=20, k=5, scale=scale)
        optimizer = f"adam:lr=0.1,eps={eps}"
        trial = Trial(scenario=scenario, optimizer=optimizer, budget=60, batch=10, target_score=1.0)
        ends.append([score for _, score, _ in run_trial(trial).curve])
    assert ends[0] == pytest.approx(ends[1], abs=1e-4)
    assert ends[0][-1] > 0.05


@pytest.mark.proof
def test_figure_4_is_decided_by_eps_and_not_by_variance_alone():
    """At d = 100, k = 500, batches of 10: 0.77 at eps 2e-4, 1.00 at 1e-8; parts 1.00 at both."""
    for approach, eps, solved in (
        ("end-to-end", 2e-4, False),
        ("end-to-end", 1e-8, True),
        ("decomposition", 2e-4, True),
        ("decomposition", 1e-8, True),
    ):
        result = run_trial(
            Trial(
                scenario=Allocation(approach=approach, d=100, k=500),
                optimizer=f"adam:lr=0.1,betas=(0.9,0.99),eps={eps}",
                budget=1500,
                batch=10,
                target_score=0.98,
            )
        )
        assert (result.status == "solved") == solved, (approach, eps)
        if not solved:
            assert 0.6 < result.final_score < 0.9
