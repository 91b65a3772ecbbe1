"""The Gauss-Newton spectrum, against dense matrices and gradient descent itself."""

import math

import numpy as np
import pytest
import torch

from gradbench.probes import condition_number, effective_condition_number, spectrum
from gradbench.probes.curvature import GaussNewton, Spectrum, lanczos
from gradbench.probes.gradients import float64_copy
from gradbench.report.rows import reading
from gradbench.scenarios.allocation import Allocation
from gradbench.scenarios.curves import Curves, inverse, slopes_to_values
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.networks import relu_network
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic

DOUBLE = torch.float64


def square(outputs, labels):
    return (outputs - labels).square().sum(dim=1) / 2


def cross_entropy(outputs, labels):
    return torch.nn.functional.cross_entropy(outputs, labels.long()[:, 0], reduction="none")


def dense(network, loss, x, y):
    """J^T H J of the mean loss, from dense Jacobians and Hessians by torch.autograd.functional."""
    parameters = {n: p.detach() for n, p in network.named_parameters()}
    shapes = [p.shape for p in parameters.values()]

    def outputs(flat):
        parts = flat.split([s.numel() for s in shapes])
        named = dict(zip(parameters, (p.view(s) for p, s in zip(parts, shapes, strict=True))))  # noqa: B905
        return torch.func.functional_call(network, named, (x,)).flatten()

    flat = torch.cat([p.flatten() for p in parameters.values()])
    jacobian = torch.autograd.functional.jacobian(outputs, flat)
    shape = network(x).shape
    hessian = torch.autograd.functional.hessian(
        lambda o: loss(o.view(shape), y).mean(), outputs(flat)
    )
    return jacobian.T @ hessian @ jacobian


@pytest.mark.parametrize("loss", [square, cross_entropy])
def test_products_are_those_of_the_dense_matrix(loss):
    torch.manual_seed(0)
    network = relu_network(4, 5, 3).double()
    x = torch.randn(7, 4, dtype=DOUBLE)
    y = torch.randint(3, (7, 1)).double().expand(7, 3)
    matrix = dense(network, loss, x, y)
    product = GaussNewton(float64_copy(network, loss), (x, y)).product
    for _ in range(3):
        v = torch.randn(len(matrix), dtype=DOUBLE)
        assert torch.allclose(product(v), matrix @ v, atol=1e-10)


def test_lanczos_finds_the_eigenvalues_and_where_the_vector_lies():
    torch.manual_seed(1)
    q, _ = torch.linalg.qr(torch.randn(12, 12, dtype=DOUBLE))
    values = torch.logspace(0, -6, 12, dtype=DOUBLE)
    matrix, start = q @ torch.diag(values) @ q.T, torch.randn(12, dtype=DOUBLE)
    found = lanczos(lambda v: matrix @ v, start, 40)
    assert found.rounded
    assert found.nodes == pytest.approx(values.tolist(), rel=1e-6)
    wanted = (q.T @ start).square() / start.square().sum()
    assert found.weights == pytest.approx(wanted.tolist(), rel=1e-5)
    assert found.condition_number == pytest.approx(1e6, rel=1e-6)


def test_few_products_find_the_outer_eigenvalues_first():
    torch.manual_seed(2)
    values = torch.cat((torch.tensor([50.0]), torch.linspace(0.1, 1, 199))).double()
    found = lanczos(lambda v: values * v, torch.randn(200, dtype=DOUBLE), 15)
    assert found.nodes[0] == pytest.approx(50, rel=1e-9)
    assert not found.rounded
    assert found.condition_number <= 500


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.01])
def test_predicted_steps_are_those_that_gradient_descent_takes(fraction):
    """On a linear model under the square loss, counted step by step."""
    torch.manual_seed(3)
    x = torch.randn(200, 6, dtype=DOUBLE) * torch.logspace(0, -1, 6, dtype=DOUBLE)
    network = torch.nn.Linear(6, 1, bias=False).double()
    y = x @ torch.randn(6, 1, dtype=DOUBLE)
    found = spectrum(network, square, (x, y))
    weight = network.weight.detach().clone().requires_grad_()
    begin = square(x @ weight.T, y).mean().item()
    steps = 0
    while (loss := square(x @ weight.T, y).mean()).item() > fraction * begin:
        assert loss.item() / begin == pytest.approx(found.excess(steps), rel=1e-6)
        (g,) = torch.autograd.grad(loss, weight)
        weight = (weight - g / found.nodes[0]).detach().requires_grad_()
        steps += 1
    assert math.ceil(found.steps_to(fraction) - 1e-6) == steps


def test_the_effective_number_of_two_components_alike_is_theirs():
    both = Spectrum((10.0, 1.0), (1e-12, 1.0 - 1e-12), 2, rounded=True)
    assert both.effective == pytest.approx(10.0, rel=1e-6)
    assert Spectrum((3.0,), (1.0,), 1, rounded=True).effective == pytest.approx(1.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        both.steps_to(1.5)


@pytest.mark.parametrize("n", [10, 20, 40])
def test_the_exact_kappa_of_the_linear_problem_is_that_of_w_squared(n):
    w = slopes_to_values(n)
    wanted = np.linalg.cond(w.numpy()) ** 2
    assert condition_number(w @ w.T) == pytest.approx(wanted, rel=1e-3)
    assert condition_number(inverse(n) @ inverse(n).T) == pytest.approx(wanted, rel=1e-3)


def test_lanczos_on_the_filter_is_the_second_moments_kappa():
    scenario = Curves(approach="convolution", data="text", n=30)
    f, p = scenario.sample({}, 300, Draws(0))
    rows = f.double().unfold(1, 3, 1).reshape(-1, 3)
    found = spectrum(scenario.network(Draws(0)), scenario.loss, (f, p))
    assert found.rounded
    assert found.condition_number == pytest.approx(condition_number(rows.T @ rows), rel=1e-5)


def test_conditioning_is_what_the_architectures_differ_in():
    found = {}
    for approach in ("linear", "convolution", "conditioned"):
        scenario = Curves(approach=approach, n=30)
        batch = scenario.sample({}, 100, Draws(0))
        found[approach] = effective_condition_number(
            scenario.network(Draws(0)), scenario.loss, batch
        ).value
    assert found["linear"] > 5 * found["convolution"] > 5000 * found["conditioned"] > 5000 * 0.99


def test_the_linear_layers_number_is_that_of_the_dense_spectrum():
    """E[f f^T] acts on each row of weights alike: 30 eigenvalues, thirty times each."""
    scenario = Curves(approach="linear", n=30)
    network, (f, p) = scenario.network(Draws(0)), scenario.sample({}, 200, Draws(0))
    values, vectors = torch.linalg.eigh(2 * f.double().T @ f.double() / len(f))
    gradient = -2 * p.double().T @ f.double() / len(f)  # at zero weights
    energy = (gradient @ vectors).square().sum(dim=0)
    weights = (energy / energy.sum()).flip(0).tolist()
    exact = Spectrum(tuple(values.flip(0).tolist()), tuple(weights), 30, rounded=True)
    found = spectrum(network, scenario.loss, (f, p), products=100)
    assert found.effective == pytest.approx(exact.effective, rel=1e-4)
    assert found.condition_number == pytest.approx(exact.condition_number, rel=1e-4)
    few = spectrum(network, scenario.loss, (f, p), products=24)
    assert 0.5 * exact.effective < few.effective <= exact.effective * (1 + 1e-9)


def test_a_hinge_has_no_curvature_and_a_zero_gradient_no_spectrum():
    scenario = Parity(d=5, weight=2)
    batch = scenario.sample({"support": torch.arange(2)}, 20, Draws(0))
    reading = effective_condition_number(scenario.network(Draws(0)), scenario.loss, batch)
    assert (reading.value, reading.note) == (None, "the loss has no curvature here")
    zero = torch.nn.Linear(5, 1)
    torch.nn.init.zeros_(zero.weight), torch.nn.init.zeros_(zero.bias)
    at_rest = effective_condition_number(zero, square, (batch[0], torch.zeros(20, 1)))
    assert at_rest.note == "the gradient is zero"


def test_too_few_products_are_said_to_be_a_lower_bound():
    scenario = Curves(approach="linear", n=30)
    batch = scenario.sample({}, 100, Draws(0))
    few, many = (
        effective_condition_number(scenario.network(Draws(0)), scenario.loss, batch, products=k)
        for k in (5, 60)
    )
    assert "at least, from 5 products" in few.note
    assert few.value < many.value
    assert few.cost == 16 * 100


def test_batch_norm_in_evaluation_has_a_spectrum_too():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh(), torch.nn.Linear(5, 1)
    )
    batch = (torch.randn(30, 4), torch.randn(30, 1))
    assert spectrum(network.eval(), square, batch).nodes[0] > 0


def test_negative_curvature_is_said_and_not_dropped():
    scenario = Allocation(d=20, k=5)
    target = scenario.draw_target(Draws(0))
    batch = scenario.sample(target, 50, Draws(1))
    reading = effective_condition_number(scenario.network(Draws(0)), scenario.loss, batch)
    assert reading.value is None
    assert "of the gradient lies in negative curvature" in reading.note


@pytest.mark.proof
@pytest.mark.parametrize("n", [32, 100])
@pytest.mark.parametrize("approach", ["linear", "convolution", "conditioned"])
def test_the_error_is_that_over_batches_of_this_size(approach, n):
    """Against the typical value of 200 such batches, and their spread."""
    scenario = Curves(approach=approach, n=20)
    network, readings = scenario.network(Draws(0)), []
    for seed in range(200):
        batch = scenario.sample({}, n, Draws(seed))
        readings.append(effective_condition_number(network, scenario.loss, batch, products=24))
    logs = torch.tensor([r.value for r in readings]).log()
    typical = logs.mean().exp().item()
    inside = sum(r.interval[0] <= typical <= r.interval[1] for r in readings)
    if approach == "conditioned":  # hardly above 1: bounds, that hold oftener than they need
        assert inside / 200 >= 0.90
        assert sum(r.resolved for r in readings) / 200 < 0.3
    else:
        assert 0.90 <= inside / 200 <= 0.99
        assert all(r.resolved for r in readings)
        off = torch.tensor([r.error / r.value for r in readings])
        assert off.median().item() == pytest.approx(logs.std().item(), rel=0.25)


def test_the_error_is_that_of_leaving_groups_out():
    """Against a jackknife that runs Lanczos anew on every remainder."""
    scenario = Curves(approach="convolution", n=20)
    network = scenario.network(Draws(0))
    x, y = scenario.sample({}, 64, Draws(0))
    group = torch.arange(64) % 16
    logs = np.log(
        [
            spectrum(network, scenario.loss, (x[group != i], y[group != i])).effective
            for i in range(16)
        ]
    )
    wanted = math.sqrt(15 / 16 * ((logs - logs.mean()) ** 2).sum()) * 2.1314 / 1.95996
    found = effective_condition_number(network, scenario.loss, (x, y))
    assert found.error / found.value == pytest.approx(wanted, rel=1e-3)


def test_fewer_outputs_than_parameters_resolve_nothing():
    """Waves in ten dimensions: 32 examples have a thirtieth of the number of 4,096."""
    scenario = Periodic(d=10, r=2.0)
    network, target = scenario.network(Draws(1)), scenario.draw_target(Draws(2))
    few, many = (
        effective_condition_number(
            network, scenario.loss, scenario.sample(target, n, Draws(n)), products=24
        )
        for n in (32, 4096)
    )
    assert few.value < many.value / 10
    assert not few.resolved
    assert few.interval == (1.0, math.inf)
    assert str(few) == reading(few.plain(0)) == ">1"
    assert many.resolved
    assert few.interval[0] <= many.value <= few.interval[1]
    enough = Curves(approach="convolution", n=20)  # three parameters
    batch = enough.sample({}, 32, Draws(1))
    assert effective_condition_number(enough.network(Draws(1)), enough.loss, batch).resolved
