"""Alignment, against cosines by hand and finite differences."""

import pytest
import torch

from gradbench.networks import relu_network
from gradbench.probes import alignment_in_function, alignment_in_parameters, descent
from gradbench.probes.gradients import twin


def square(outputs, labels):
    return (outputs[:, 0] - labels).square() / 2


@pytest.fixture
def problem():
    torch.manual_seed(0)
    network, solution = relu_network(4, 6, 1), relu_network(4, 6, 1)
    x = torch.randn(30, 4)
    return network, solution, (x, solution(x)[:, 0].detach())


def flat(network):
    return torch.cat([p.detach().double().flatten() for p in network.parameters()])


def test_the_way_to_the_solution_is_aligned_with_itself(problem):
    network, solution, _ = problem
    way = flat(solution) - flat(network)
    assert alignment_in_parameters(network, solution, way).value == pytest.approx(1.0)
    assert alignment_in_parameters(network, solution, -2 * way).value == pytest.approx(-1.0)


def test_descent_is_the_negative_gradient_and_its_cosine_is_by_hand(problem):
    network, solution, batch = problem
    step = descent(network, square, batch)
    network.zero_grad()
    square(network(batch[0]), batch[1]).mean().backward()
    by_hand = -torch.cat([p.grad.flatten() for p in network.parameters()]).double()
    assert torch.allclose(step, by_hand, atol=1e-6)
    way = flat(solution) - flat(network)
    wanted = (by_hand @ way / by_hand.norm() / way.norm()).item()
    found = alignment_in_parameters(network, solution, step).value
    assert found == pytest.approx(wanted, abs=1e-5)


def test_in_function_space_it_is_what_a_small_step_does(problem):
    network, solution, batch = problem
    step = descent(network, square, batch)
    found = alignment_in_function(network, square, solution, batch, step).value
    of = twin(network, square)
    x = batch[0].double()
    before = of.network(x)[:, 0].detach()
    with torch.no_grad():
        scale = 1e-6
        for p, part in zip(of.tensors, step.split([p.numel() for p in of.tensors]), strict=True):
            p.add_(scale * part.view_as(p))
    change = (of.network(x)[:, 0].detach() - before) / scale
    way = solution.double()(x)[:, 0].detach() - before
    assert found == pytest.approx((change @ way / change.norm() / way.norm()).item(), abs=1e-5)
    assert found > 0  # under the square loss, descent never turns away in function space


def test_what_has_no_answer_says_why(problem):
    network, solution, batch = problem
    other = relu_network(4, 7, 1)
    zero = torch.zeros(len(flat(network)))
    assert (
        alignment_in_parameters(network, other, zero).note
        == "the known solution is another network"
    )
    assert alignment_in_parameters(network, solution, zero).note == "nothing moves"
    at = alignment_in_parameters(network, network, zero + 1)
    assert at.note == "already at the solution"
    wide = relu_network(4, 2)
    found = alignment_in_function(network, square, wide, batch, zero + 1)
    assert found.note == "the known solution answers in another form"


def test_looking_leaves_the_solution_as_it_was(problem):
    network, solution, batch = problem
    alignment_in_function(network, square, solution, batch, descent(network, square, batch))
    assert all(p.dtype is torch.float32 for p in solution.parameters())
    solution(batch[0])
