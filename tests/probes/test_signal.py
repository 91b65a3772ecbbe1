"""Signal-to-noise ratio, against per-example sums, repetition where the truth is known, and pools
against all their tuples."""

import itertools
import math

import pytest
import torch

from gradbench.probes import (
    batches_signal_to_noise,
    published_signal_to_noise,
    second_moment,
    signal_to_noise,
    tuples,
)
from gradbench.probes.gradients import float64_copy, squared_norms
from gradbench.probes.signal import ratio, squared_mean
from gradbench.probes.tuple_signal import last_weights
from gradbench.scenarios.allocation import Allocation
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.line_tuples import LineTuples
from gradbench.scenarios.parity import Parity


def known(p, mean, groups=16, size=8, seed=1, *, decay=0.0):
    """Draws of Gram matrices of mean gradients g ~ N(mean, A^T A), and the true ratio."""
    stream = torch.Generator().manual_seed(seed)
    a = torch.randn(p, p, generator=stream, dtype=torch.float64)
    a *= torch.arange(1, p + 1) ** -decay
    mu = torch.full((p,), mean, dtype=torch.float64)

    def draw():
        g = torch.randn(groups, size, p, generator=stream, dtype=torch.float64) @ a + mu
        rows = g.mean(dim=1)
        return rows @ rows.T

    return draw, (mu @ mu / a.square().sum()).item()


@pytest.mark.parametrize("groups", [16, pytest.param(32, marks=pytest.mark.proof)])
@pytest.mark.parametrize("p", [3, 200])
@pytest.mark.parametrize("decay", [pytest.param(0.0, marks=pytest.mark.proof), 1.0])
@pytest.mark.parametrize(
    "mean", [0.0, *(pytest.param(m, marks=pytest.mark.proof) for m in (0.1, 0.3, 1.0))]
)
def test_intervals_hold_the_truth_as_often_as_they_say(groups, p, decay, mean):
    inside, errors, relative = 0, [], []
    for seed in range(1, 6):  # five noises, 200 repetitions each
        draw, true = known(p, mean, groups, seed=seed, decay=decay)
        for reading in (ratio(draw(), 8) for _ in range(200)):
            inside += reading.interval[0] <= true <= reading.interval[1]
            errors.append(reading.value - true)
            relative.append(0.03 * true)
    assert 0.90 <= inside / 1000 <= 0.99
    errors = torch.tensor(errors)
    # the ratio of two unbiased estimates is biased by about the noise's relative variance
    allowed = sum(relative) / 1000
    assert abs(errors.mean()) < 4 * errors.std() / math.sqrt(1000) + allowed


def test_noise_is_not_taken_for_signal():
    draw, _ = known(50, 0.0)
    resolved = sum(ratio(draw(), 8).resolved for _ in range(400))
    assert resolved / 400 < 0.06


def test_the_signal_is_unbiased():
    draw, _ = known(10, 0.3)
    signals = torch.tensor([squared_mean(draw()).value for _ in range(3000)])
    assert abs(signals.mean() - 10 * 0.09) < 4 * signals.std() / math.sqrt(3000)


def test_no_interval_without_spread_or_length():
    same = squared_mean(torch.ones(16, 16, dtype=torch.float64))
    assert same.low == pytest.approx(1)
    assert same.high == pytest.approx(1)
    assert squared_mean(torch.zeros(16, 16, dtype=torch.float64)).high == 0


def test_batches_of_one_are_the_sums_over_examples():
    torch.manual_seed(0)
    network, stream = torch.nn.Linear(4, 1), torch.Generator().manual_seed(2)
    loss = Parity(d=4, weight=2).loss
    batches = [
        (torch.randn(1, 4, generator=stream), torch.ones(1) - 2 * (i % 2)) for i in range(30)
    ]
    each = []
    for x, y in batches:
        network.zero_grad()
        loss(network(x), y).mean().backward()
        each.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    g = torch.stack(each).double()
    n = len(g)
    signal = (g.sum(0).square().sum() - g.square().sum()) / (n * (n - 1))
    apart = (g - g.mean(0)).square().sum(dim=1)
    noise = apart.sum() / (n - 1)
    skew = 1 + (1.0439 * apart.std() / apart.mean()) ** 2 / n  # t of 29 degrees / 1.96
    assert batches_signal_to_noise(network, loss, batches).value == pytest.approx(
        (signal / noise / skew).item(), rel=1e-4
    )


def test_a_prefix_chooses_a_layer_and_a_wrong_one_says_so():
    scenario = Parity(d=5, weight=2)
    network = scenario.network(Draws(0))
    whole, last = (signal_to_noise(scenario, network, prefix=p).value for p in ("", "2."))
    assert whole != last
    with pytest.raises(ValueError, match="no parameter whose name begins with 'first'"):
        signal_to_noise(scenario, network, prefix="first")
    with pytest.raises(ValueError, match="at least 16"):
        batches_signal_to_noise(network, scenario.loss, [])


def test_a_loss_that_is_reduced_or_broadcasts_is_refused():
    network = torch.nn.Linear(3, 1)
    batches = [(torch.randn(8, 3), torch.randn(8)) for _ in range(16)]
    for wrong in (
        lambda outputs, labels: (outputs[:, 0] - labels).square().mean(),
        lambda outputs, labels: (outputs - labels).square(),
    ):
        with pytest.raises(ValueError, match="one value per example, shape"):
            batches_signal_to_noise(network, wrong, batches)


def test_equations_2_and_3_the_second_moment_end_to_end_is_k_times_larger():
    """In closed form at the uniform allocation; the bias sees every gradient once more."""
    k = 8
    moments = {}
    for approach in ("end-to-end", "decomposition"):
        scenario = Allocation(approach=approach, d=20, k=k)
        network = scenario.network(Draws(0))
        torch.nn.init.zeros_(network.weight)
        reading = second_moment(scenario, network, examples=16_000)
        moments[approach] = reading
    for approach, wanted in (("decomposition", 1 / k**2), ("end-to-end", 1 / k)):
        error = moments[approach].value - 2 * (1 - 1 / k) * wanted
        assert abs(error) < 3.5 * moments[approach].error + 1e-12 < 0.5 * wanted


def test_the_second_moments_interval_holds_the_truth_as_often_as_it_says():
    scenario = Allocation(approach="end-to-end", d=20, k=8)
    network = scenario.network(Draws(0))
    torch.nn.init.zeros_(network.weight)
    true, inside = 2 * (1 - 1 / 8) / 8, 0
    for seed in range(300):
        low, high = second_moment(scenario, network, examples=200, seed=seed).interval
        inside += low <= true <= high
    assert 0.90 <= inside / 300 <= 0.99


def test_looking_leaves_the_network_as_it_was():
    scenario = LineTuples(k=2)
    network = scenario.network(Draws(0))
    before = {n: p.clone() for n, p in network.named_parameters()}
    signal_to_noise(scenario, network, examples=600)
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in network.named_parameters())
    assert all(p.dtype is torch.float32 for p in network.parameters())


# Tuples


def every_tuple(pools):
    """All tuples that the pools make, and their labels, as a batch."""
    drawn = []
    for slot in range(pools.slots):
        chunks = pools.chunks(slot)
        drawn.append((torch.cat([x for x, _ in chunks]), torch.cat([y for _, y in chunks])))
    indices = torch.tensor(list(itertools.product(range(2 * pools.half), repeat=pools.slots)))
    images = torch.stack([x[indices[:, s]] for s, (x, _) in enumerate(drawn)], dim=1)
    each = torch.stack([y[indices[:, s]] for s, (_, y) in enumerate(drawn)], dim=1)
    return images, torch.cat((each.prod(dim=1, keepdim=True), each), dim=1)


@pytest.mark.parametrize("approach", ["end-to-end", "decomposition"])
@pytest.mark.parametrize(
    ("k", "half"),
    [(1, 10), (2, 10), *(pytest.param(*e, marks=pytest.mark.proof) for e in ((3, 5), (4, 3)))],
)
def test_the_pooled_gradient_is_that_of_all_tuples(monkeypatch, approach, k, half):
    monkeypatch.setattr(tuples, "PER_POINT", 2**14)
    monkeypatch.setattr(tuples, "BINS", 2**18)
    torch.manual_seed(1)
    scenario = LineTuples(approach=approach, k=k)
    network = scenario.network(Draws(2))
    assert tuples.applies(scenario, network)
    of, pools = float64_copy(network, scenario.loss, "n1."), tuples.Pools(3, k, half)
    wanted = of.gradient(every_tuple(pools))
    found = tuples.pooled_gradient(of, scenario, pools)
    assert torch.allclose(found, wanted, atol=1e-12)
    assert wanted.abs().max() > 1e-8


def test_coarse_bins_are_finer_than_a_pools_own_noise():
    torch.manual_seed(1)
    scenario = LineTuples(k=3)
    network = scenario.network(Draws(1))
    of = float64_copy(network, scenario.loss, last_weights(network))
    first, second = (tuples.Pools(seed, 3, 12) for seed in (3, 4))
    exact = of.gradient(every_tuple(first))
    binned = (tuples.pooled_gradient(of, scenario, first) - exact).norm()
    assert binned < (of.gradient(every_tuple(second)) - exact).norm()


def test_pools_are_balanced_and_repeat():
    pools = tuples.Pools(7, 2, 25)
    for slot in range(2):
        labels = torch.cat([y for _, y in pools.chunks(slot)])
        assert sorted(labels.tolist()) == [-1.0] * 25 + [1.0] * 25
        again = torch.cat([x for x, _ in pools.chunks(slot)])
        assert torch.equal(again, torch.cat([x for x, _ in pools.chunks(slot)]))
    assert not torch.equal(pools.chunks(0)[0][0][:20], pools.chunks(1)[0][0][:20])


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_measure_beyond_a_threshold_by_enumeration(monkeypatch, parts):
    monkeypatch.setattr(tuples, "PER_POINT", 2**12)
    monkeypatch.setattr(tuples, "BINS", 2**16)
    stream = torch.Generator().manual_seed(5)
    drawn = [
        (torch.rand(6, generator=stream).double() * s, torch.randn(6, generator=stream).double())
        for s in (0.3, 1.0, -0.5)[:parts]
    ]
    thresholds = torch.linspace(-1, 2, 41, dtype=torch.float64)
    two = [torch.stack((x, -2 * x)) for x, _ in drawn]  # rows do not meet
    rows = tuples.exceed(two, [w for _, w in drawn], thresholds.expand(2, -1))
    for factor, row in zip((1, -2), rows, strict=True):
        for t, found in zip(thresholds, row, strict=True):
            wanted, nearest = 0.0, math.inf
            for chosen in itertools.product(range(6), repeat=parts):
                total = factor * sum(drawn[s][0][i] for s, i in enumerate(chosen))
                nearest = min(nearest, abs(total - t))
                weight = math.prod(drawn[s][1][i].item() for s, i in enumerate(chosen))
                wanted += bool(total > t) * weight
            if parts == 1 or nearest > 1e-3:  # a bin's mass counts in shares
                assert found.item() == pytest.approx(float(wanted), abs=1e-9)


def test_bins_do_not_shift_the_measure():
    """The mean over thresholds of what binning errs by is a small part of a bin."""
    stream = torch.Generator().manual_seed(6)
    points = [torch.rand(1, 300, generator=stream).double() for _ in range(2)]
    weights = [torch.full((300,), 1 / 300, dtype=torch.float64)] * 2
    thresholds = torch.linspace(0.2, 1.8, 4001, dtype=torch.float64)[None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuples, "BINS", 64)
        found = tuples.exceed(points, weights, thresholds)
    sums = (points[0][0][:, None] + points[1][0]).flatten().sort().values
    beyond = len(sums) - torch.searchsorted(sums, thresholds[0], right=True)
    error = (found[0] - beyond / len(sums)).mean().item()
    assert abs(error) < 0.1 / 64  # half a bin would err by about a half of 1/64


@pytest.mark.proof
def test_figure_5_end_to_end_falls_with_k_and_decomposition_does_not():
    found = {}
    for approach in ("end-to-end", "decomposition"):
        for k in (1, 2, 4):
            torch.manual_seed(0)
            scenario = LineTuples(approach=approach, k=k)
            network = scenario.network(Draws(0))
            found[approach, k] = signal_to_noise(scenario, network, examples=16_000)
    assert found["end-to-end", 1].path == "pools"
    assert found["end-to-end", 2].bound < found["end-to-end", 1].value / 100
    assert not found["end-to-end", 4].resolved
    assert found["end-to-end", 4].bound < 1e-15  # far below what float32 can hold beside 1


@pytest.mark.parametrize("k", [1, pytest.param(3, marks=pytest.mark.proof)])
@pytest.mark.proof
def test_figure_5_is_of_the_first_images_hinge_by_n1s_last_weights(k):
    """By hand: -y h(x) where the hinge is active, h the last hidden layer; bias and N2 left out."""
    scenario = LineTuples(approach="decomposition", k=k)
    network = scenario.network(Draws(0))
    x, labels = scenario.sample({}, 100_000, Draws(1))
    with torch.no_grad():
        hidden = network.n1[:-1](x[:, 0]).double()
        scores = network.n1[-1](hidden.float())[:, 0]
    active = (labels[:, 1] * scores < 1).double()
    g = -(labels[:, 1].double() * active)[:, None] * hidden
    length, n = g.square().sum(dim=1).mean(), len(g)
    signal = (g.mean(dim=0).square().sum() - length / n) * n / (n - 1)
    true = (signal / (length - signal)).item()
    readings = [signal_to_noise(scenario, network, examples=20_000, seed=s) for s in range(40)]
    inside = sum(r.interval[0] <= true <= r.interval[1] for r in readings)
    assert inside >= 34  # of 40 at 95 %, fewer with a chance of 0.3 %
    mean = sum(r.value for r in readings) / 40
    spread = torch.tensor([r.value for r in readings]).std().item()
    assert abs(mean - true) < 4 * spread / 40**0.5
    plugged = published_signal_to_noise(scenario, network, examples=2000, seed=5)
    x, labels = scenario.sample({}, 2000, Draws(5))
    with torch.no_grad():
        hidden = network.n1[:-1](x[:, 0]).double()
    rows = -labels[:, 1:2].double() * hidden
    size = rows.mean(dim=0).square().sum()
    assert plugged == pytest.approx((size / (rows.square().sum(1).mean() - size**2)).item(), 1e-4)


def test_figure_5_as_published_ends_on_its_samples_noise():
    scenario = LineTuples(k=3)
    network = scenario.network(Draws(0))
    for n in (500, 4000):
        published = published_signal_to_noise(scenario, network, examples=n)
        assert published == pytest.approx(1 / n, rel=0.6)
    assert signal_to_noise(scenario, network, examples=16_000).bound < 1e-9


@pytest.mark.parametrize(
    ("approach", "k"),
    [("decomposition", 1), pytest.param("end-to-end", 2, marks=pytest.mark.proof)],
)
@pytest.mark.proof
def test_the_interval_of_pools_holds_the_truth_as_often_as_it_says(approach, k):
    """The truth from pools 50 times as large; end-to-end at k = 2 it is zero to any one reading."""
    torch.manual_seed(0)
    scenario = LineTuples(approach=approach, k=k)
    network = scenario.network(Draws(0))
    prefix = "" if approach == "end-to-end" else last_weights(network)
    of = float64_copy(network, scenario.loss, last_weights(network))
    pools = [tuples.Pools(10**6 + i, k, 6000) for i in range(12)]
    rows = torch.stack([tuples.pooled_gradient(of, scenario, each) for each in pools])
    batch = scenario.sample({}, 10_000, Draws(7))
    signal = squared_mean(rows @ rows.T).value
    true = signal / (squared_norms(of, batch)[0].mean().item() - signal)
    readings = [
        signal_to_noise(scenario, network, examples=4096, seed=i, prefix=prefix) for i in range(200)
    ]
    inside = sum(r.interval[0] <= true <= r.interval[1] for r in readings)
    assert 0.90 <= inside / 200 <= (0.99 if k == 1 else 1)
    assert sum(r.resolved for r in readings) / 200 < (0.06 if k == 2 else 0.5)


def test_where_a_hinge_is_at_rest_tuples_are_measured_as_anything_else():
    torch.manual_seed(0)
    scenario = LineTuples(k=2)
    network = scenario.network(Draws(0))
    with torch.no_grad():
        for p in network.n2.parameters():
            p.mul_(20)
    assert not tuples.applies(scenario, network)
    assert signal_to_noise(scenario, network, examples=1600).path == "batches"


def test_the_last_weights_of_n1_are_found_in_both_networks():
    assert last_weights(LineTuples(k=2).network(Draws(0))) == "n1.4.weight"
    convolution = LineTuples(k=2, n1="convolution").network(Draws(0))
    assert last_weights(convolution) == "n1.6.4.weight"
    assert last_weights(torch.nn.Linear(2, 1)) == ""
