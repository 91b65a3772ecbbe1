"""A game of two players: its gradients by hand, its growth by the closed form."""

import pytest
import torch

from gradbench.scenarios.draws import Draws
from gradbench.scenarios.rotation import PAIRS, Rotation, growth
from gradbench.training.runner import run
from gradbench.training.trial import Trial


class Extragradient(torch.optim.Optimizer):
    """Steps by the gradient at the point to which a first step leads."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure):
        every = [(p, group["lr"]) for group in self.param_groups for p in group["params"]]
        before = [p.detach().clone() for p, _ in every]
        for _ in range(2):
            with torch.enable_grad():
                closure()
            with torch.no_grad():
                for (p, lr), start in zip(every, before, strict=True):
                    p.copy_(start - lr * p.grad)


def trained(optimizer, rate, damping, budget=300):
    trial = Trial(
        scenario=Rotation(damping=damping),
        optimizer=optimizer,
        hyperparameters={"lr": rate},
        budget=budget,
        batch=1,
        target_score=0.9,
    )
    return run([trial])[0]


def test_x_descends_and_y_ascends():
    scenario = Rotation(damping=0.3)
    target = scenario.draw_target(Draws(4))
    away_x, away_y = target["saddle"].chunk(2)
    assert torch.allclose(away_x.square() + away_y.square(), torch.ones(PAIRS))
    network = scenario.network(None)
    scenario.loss(network(torch.ones(1, 1)), target["saddle"][None]).mean().backward()
    u, v = -away_x, -away_y
    expected = torch.cat((v + 0.3 * u, -(u - 0.3 * v)))
    assert torch.allclose(network.weight.grad[:, 0], expected)


@pytest.mark.parametrize("rate", [0.01, 0.1])
@pytest.mark.parametrize("damping", [0.0, 0.1, 1.0])
def test_gradient_descent_follows_its_growth(rate, damping):
    for spent, score, _ in trained("sgd", rate, damping).curve:
        distance = growth(rate, damping) ** spent
        assert score == pytest.approx(max(-1, 1 - distance), abs=1e-4)


def test_the_growth_is_the_published_one():
    assert growth(0.1) ** 300 == pytest.approx(4.448, abs=1e-3)
    assert growth(0.5, 1.0) < 1 < growth(1.1, 1.0)  # stable below 2 d / (d^2 + 1)


def test_no_rate_of_gradient_descent_shrinks_the_game_and_looking_ahead_does():
    scores = [trained("sgd", rate, 0.0).final_score for rate in (1e-3, 1e-2, 0.1)]
    assert max(scores) < 0
    ahead = trained(f"{__file__}:Extragradient", 0.3, 0.0)
    assert ahead.status == "solved"
