"""Variance over targets, against enumeration of all targets, quadrature and repetition."""

import itertools
import math

import pytest
import torch
from scipy.linalg import hadamard

from gradbench.probes import parity_profile, parity_variance, variance_over_targets, waves
from gradbench.probes.directions import towards_units, weighted_variance
from gradbench.probes.gradients import NetworkCopy, float64_copy, squared_norms
from gradbench.probes.parities import every_input, half_gap, walsh_hadamard
from gradbench.probes.reading import Z95, mean_error
from gradbench.probes.variance import scale_of
from gradbench.scenarios.base import Scenario
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.line_tuples import LineTuples
from gradbench.scenarios.networks import relu_network
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic

generic = variance_over_targets.dispatch(Scenario)


def hinge(outputs, labels):
    return (1 - labels * outputs[:, 0]).clamp(min=0)


def square(outputs, labels):
    return (outputs[:, 0] - labels).square() / 2


def logistic(outputs, labels):
    return torch.nn.functional.softplus(-labels * outputs[:, 0])


LOSSES = [hinge, square, logistic]


def loud(d, seed=0, scale=3.0):
    """A network whose outputs pass 1, so that the hinge is not linear."""
    torch.manual_seed(seed)
    network = relu_network(d, 2 * d, 1)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(scale * torch.randn_like(p) / math.sqrt(d))
    return network.double()


def gradient(network, loss, x, labels):
    return torch.cat(
        [
            g.flatten()
            for g in torch.autograd.grad(
                loss(network(x), labels).mean(), list(network.parameters())
            )
        ]
    )


def supports(d):
    return itertools.chain.from_iterable(itertools.combinations(range(d), k) for k in range(d + 1))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_profile_is_that_of_every_target_one_by_one(loss):
    d, network = 5, loud(5)
    x = every_input(d).double()
    found, energies = [], {k: [] for k in range(d + 1)}
    for support in supports(d):
        h = x[:, list(support)].prod(dim=1)
        up, down = gradient(network, loss, x, h), gradient(network, loss, x, -h)
        found.append(up)
        energies[len(support)].append(((up - down) / 2).square().sum().item())
    every = torch.stack(found)
    profile = parity_profile(network, loss, d)
    variance = (every - every.mean(dim=0)).square().sum(dim=1).mean().item()
    assert profile.variance == pytest.approx(variance, rel=1e-10)
    assert profile.energies == pytest.approx(
        [sum(e) / len(e) for e in energies.values()], rel=1e-10
    )
    slopes = [gradient(network, lambda p, _: p[:, 0], x[i : i + 1], None) for i in range(len(x))]
    scale = torch.stack(slopes).square().sum(dim=1).mean().item()
    assert profile.scale == pytest.approx(scale, rel=1e-10)
    assert profile.variance <= profile.bound or loss is square  # r is 1-Lipschitz


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("d", [4, 8, 11])
def test_the_identity_and_the_transform_agree_to_rounding(loss, d):
    network = loud(d)
    profile = parity_profile(network, loss, d)
    reading = parity_variance(network, loss, every_input(d), sampled=False)
    assert reading.value == pytest.approx(profile.variance / profile.scale, rel=1e-9)
    assert (reading.error, reading.resolved) == (0.0, True)


def test_the_half_gap_is_the_derivation_and_not_the_papers():
    p = torch.linspace(-3, 3, 61, dtype=torch.float64)[:, None]
    assert torch.allclose(half_gap(square, p), torch.full_like(p, -1))
    slope = lambda z: -torch.sigmoid(-z)  # noqa: E731  # r' of the logistic loss
    assert torch.allclose(half_gap(logistic, p), (slope(p) + slope(-p)) / 2)


def test_walsh_hadamard_is_the_matrix():
    rows = torch.randn(32, 3, dtype=torch.float64)
    wanted = torch.from_numpy(hadamard(32)).double() @ rows
    assert torch.allclose(walsh_hadamard(rows.clone()), wanted)


def test_a_sample_of_inputs_gives_the_value_with_an_honest_error():
    d, network = 6, loud(6)
    profile = parity_profile(network, hinge, d)
    true = profile.variance / profile.scale
    stream, inside, values = torch.Generator().manual_seed(1), 0, []
    for _ in range(300):
        x = every_input(d)[torch.randint(2**d, (200,), generator=stream)]
        reading = parity_variance(network, hinge, x)
        inside += reading.interval[0] <= true <= reading.interval[1]
        values.append(reading.value)
    assert 0.90 <= inside / 300 <= 0.99
    spread = torch.tensor(values)
    assert abs(spread.mean() - true) < 4 * spread.std() / math.sqrt(300)


def test_at_d_30_the_identity_resolves_what_sampling_cannot():
    scenario = Parity(d=30, weight=15)
    torch.manual_seed(0)
    network = scenario.network(Draws(0))
    exact = variance_over_targets(scenario, network)
    assert exact.resolved
    assert exact.value == pytest.approx(2.0**-30, rel=0.15)  # |p| < 1 nearly everywhere
    sampled = generic(scenario, network)
    assert not sampled.resolved
    assert str(sampled).startswith("<")
    assert sampled.bound > exact.value


@pytest.mark.proof
def test_batches_and_targets_are_unbiased_with_an_honest_error():
    """All three parities of weight 2 of 3 bits: their mean energy less that of their mean."""
    scenario = Parity(d=3, weight=2)
    network = loud(3, scale=0.5)
    x = every_input(3).double()
    pairs = itertools.combinations(range(3), 2)
    each = torch.stack([gradient(network, hinge, x, x[:, list(s)].prod(dim=1)) for s in pairs])
    true = (each - each.mean(dim=0)).square().sum(dim=1).mean().item()
    true /= parity_profile(network, hinge, 3).scale
    inside, values = 0, []
    for seed in range(200):
        reading = generic(scenario, network, examples=1600, seed=seed)
        inside += reading.interval[0] <= true <= reading.interval[1]
        values.append(reading.value)
    spread = torch.tensor(values)
    assert abs(spread.mean() - true) < 4 * spread.std() / math.sqrt(200) + 0.02 * true  # of 1/G^2
    assert 0.90 <= inside / 200 <= 0.99


def test_a_scenario_with_one_target_has_no_variance_over_them():
    reading = variance_over_targets(LineTuples(k=2), LineTuples(k=2).network(Draws(0)))
    assert (reading.value, reading.resolved) == (None, False)
    assert "one target" in reading.note


# Waves


@pytest.mark.parametrize("wave", ["cosine", "square"])
@pytest.mark.parametrize("r", [0.7, 2.0, 5.0])
def test_the_closed_form_is_the_integral_in_one_dimension(wave, r):
    network = loud(1, seed=5)
    x = torch.linspace(-9, 9, 900_001, dtype=torch.float64)[:, None]
    weight = (-x[:, 0].square() / 2).exp() / math.sqrt(2 * math.pi) * (x[1, 0] - x[0, 0])
    h = (r * x[:, 0]).cos()
    h = h.sign() if wave == "square" else h
    wanted = gradient(network, lambda p, _: p[:, 0] * weight * h * len(x), x, None)
    direction = torch.tensor([[r]], dtype=torch.float64)
    found = waves.expected(waves.layers(network), direction, square=wave == "square")[0]
    # the grid errs at kinks and jumps by its step, the square wave's series at its ninth harmonic
    assert torch.allclose(found, wanted, atol=3e-5 if wave == "cosine" else 2e-3)
    assert wanted.abs().max() > 0.05


def test_the_closed_form_is_the_integral_in_two_dimensions():
    network = loud(2, seed=4)
    line = torch.linspace(-7, 7, 1401, dtype=torch.float64)
    x = torch.cartesian_prod(line, line)
    weight = (-x.square().sum(dim=1) / 2).exp() / (2 * math.pi) * (line[1] - line[0]) ** 2
    v = torch.tensor([1.1, -0.6], dtype=torch.float64)
    h = (x @ v).cos()
    wanted = gradient(network, lambda p, _: p[:, 0] * weight * h * len(x), x, None)
    found = waves.expected(waves.layers(network), v[None])[0]
    assert torch.allclose(found, wanted, atol=1e-4)


def test_no_overflow_at_high_frequency_and_large_bias():
    layers = (torch.randn(4, 6).double(), 50 * torch.randn(4).double(), torch.randn(4).double())
    v = 40 * torch.randn(3, 6, dtype=torch.float64)
    assert waves.expected(layers, v).isfinite().all()


def test_periodic_variance_is_what_sampling_finds_where_it_can():
    scenario = Periodic(d=5, r=1.0)
    torch.manual_seed(0)
    network = scenario.network(Draws(0))
    exact = variance_over_targets(scenario, network)
    sampled = generic(scenario, network, examples=200_000)
    assert exact.path == "closed form"
    assert abs(exact.value - sampled.value) < 3 * (exact.error + sampled.error) + 0.1 * exact.value
    assert exact.error < sampled.error


@pytest.mark.parametrize(
    ("d", "r"),
    [
        (3, 4.0),
        *(pytest.param(*e, marks=pytest.mark.proof) for e in ((10, 4.0), (20, 6.0), (20, 1.5))),
    ],
)
def test_directions_near_a_unit_are_unbiased_by_quadrature_over_their_cosine(d, r):
    """With one unit all depends on t alone, of density (1 - t^2)^((d - 3) / 2)."""
    torch.manual_seed(1)
    layers = tuple(torch.randn(*shape).double() for shape in [(1, d), (1,), (1,)])
    unit = layers[0][0] / layers[0][0].norm()
    across = torch.linalg.svd(layers[0])[2][1]
    t = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
    density = (1 - t.square()) ** ((d - 3) / 2)
    density /= density.sum()
    found = waves.expected(layers, r * (t[:, None] * unit + (1 - t * t).sqrt()[:, None] * across))
    mean = density @ found
    mean[:d] = (mean[:d] @ unit) * unit  # what lies across averages to nothing
    true = (density @ found.square().sum(dim=1) - mean.square().sum()).item()
    stream, inside, values = Draws(1), 0, []
    for _ in range(400):
        directions, weights = towards_units(layers, r, 64, stream)
        value, moves = weighted_variance(waves.expected(layers, directions), weights)
        inside += abs(value - true) <= Z95 * mean_error(moves)
        values.append(value)
    assert 0.90 <= inside / 400 <= 0.99
    spread = torch.tensor(values)
    assert abs(spread.mean() - true) < 4 * spread.std() / math.sqrt(400)


@pytest.mark.proof
@pytest.mark.parametrize(("d", "r"), [(5, 1.0), (10, 2.0), (10, 4.0), (20, 2.0), (20, 6.0)])
def test_periodic_errors_are_honest_over_targets(d, r):
    scenario = Periodic(d=d, r=r)
    torch.manual_seed(0)
    network = scenario.network(Draws(0)).double()
    layers, stream = waves.layers(network), Draws(9)
    if r >= 4:  # uniform directions, few of which count, know the truth less well
        many, weights = towards_units(layers, r, 6000, stream)
    else:
        targets = [scenario.draw_target(stream)["direction"] for _ in range(6000)]
        many, weights = torch.stack(targets).double(), torch.ones(6000)
    found = torch.cat([waves.expected(layers, part).float() for part in many.split(500)])
    variance, _ = weighted_variance(found, weights.float())
    inputs = stream.normal(100_000, d).double()
    hidden = network[0](inputs).relu()
    on, out = (hidden > 0).double(), network[2].weight[0]
    # |dp/dw|^2 = sum_j a_j^2 1_j (|x|^2 + 1) + |relu|^2 + 1, by hand
    slopes = (on @ out.square()) * (inputs.square().sum(1) + 1) + hidden.square().sum(1) + 1
    true = variance / slopes.mean().item()
    inside = 0
    for seed in range(400):
        low, high = variance_over_targets(scenario, network, examples=2048, seed=seed).interval
        inside += low <= true <= high
    assert 0.90 <= inside / 400 <= 0.99


def test_the_variance_falls_with_r_as_theorem_2_says_where_d_is_large():
    values = []
    for r in (2.0, 4.0, 6.0):
        torch.manual_seed(0)
        scenario = Periodic(d=20, r=r)
        values.append(variance_over_targets(scenario, scenario.network(Draws(0))).value)
    assert values[0] > 100 * values[1] > 10_000 * values[2] > 0


def test_other_networks_take_the_sampled_way():
    scenario = Periodic(d=3, r=1.0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    assert waves.layers(network) is None
    assert "16 targets" in variance_over_targets(scenario, network).note


def test_the_scale_of_many_outputs_is_their_sum_on_average():
    """Random signs against each output by itself, over networks."""
    torch.manual_seed(0)
    ratios = []
    for _ in range(20):
        of = float64_copy(relu_network(4, 10, 9), hinge)
        batch = (torch.randn(320, 4), torch.zeros(320))
        found, off, _ = scale_of(of, batch)
        exact = sum(
            squared_norms(NetworkCopy(of.network, lambda p, _, i=i: p[:, i], of.parameters), batch)[
                0
            ]
            for i in range(9)
        )
        ratios.append((found / exact.mean().item() - 1) / off)
    assert abs(sum(ratios) / 20) < 1
    assert sum(abs(r) < 2.2 for r in ratios) >= 16


def test_any_d_and_any_number_of_examples_will_do():
    scenario = Parity(d=17, weight=3)
    assert variance_over_targets(scenario, scenario.network(Draws(0)), examples=200_000).resolved


def test_only_a_sequence_has_the_closed_form():
    class Residual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)

        def forward(self, x):
            return self.c(x + self.b(self.a(x)))

    assert waves.layers(Residual()) is None


def test_too_many_inputs_are_refused():
    with pytest.raises(ValueError, match="at most 16"):
        every_input(17)


def test_a_network_too_large_for_one_chunk_gives_the_same(monkeypatch):
    """Per-example gradients are taken a few examples at a time; a plain Module goes that way."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), relu_network(5, 20, 1))
    whole = variance_over_targets(Parity(d=5, weight=2), network)
    monkeypatch.setattr("gradbench.probes.gradients.CHUNK", 500)
    parts = variance_over_targets(Parity(d=5, weight=2), network)
    assert parts.value == pytest.approx(whole.value, rel=1e-12)
    assert whole.path != "layers"
