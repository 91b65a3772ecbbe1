"""The mathematics of linear-periodic functions, each by a second path."""

import itertools
import math

import pytest
import torch
from scipy import integrate

from gradbench.scenarios.draws import Draws
from gradbench.scenarios.periodic import Periodic

WAVE = {"cosine": math.cos, "square": lambda z: math.copysign(1.0, math.cos(z))}


@pytest.mark.parametrize("wave", ["cosine", "square"])
@pytest.mark.parametrize("r", [0.5, 1.0, 1.5, 3.0, 10.0])
def test_the_variance_in_closed_form_is_the_integral(wave, r):
    jumps = [math.pi / 2 + math.pi * k for k in range(-30, 30)]
    edges = [-9 * r, *[z for z in jumps if -9 * r < z < 9 * r], 9 * r]

    def moment(power):
        def integrand(z):
            return WAVE[wave](z) ** power * math.exp(-(z**2) / (2 * r**2))

        parts = [integrate.quad(integrand, a, b)[0] for a, b in itertools.pairwise(edges)]
        return sum(parts) / (r * math.sqrt(2 * math.pi))

    wanted = moment(2) - moment(1) ** 2
    assert Periodic(d=3, r=r, wave=wave).variance == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("wave", ["cosine", "square"])
def test_labels_are_the_wave_of_the_inner_product(wave):
    scenario = Periodic(d=7, r=2.5, wave=wave)
    target = scenario.draw_target(Draws(1))
    x, y = scenario.sample(target, 50, Draws(2))
    direction = target["direction"].tolist()
    assert math.hypot(*direction) == pytest.approx(2.5, rel=1e-6)
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        z = sum(a * b for a, b in zip(row, direction, strict=True))
        assert label == pytest.approx(WAVE[wave](z), abs=1e-5)


def test_the_score_of_a_constant_is_at_most_chance_and_of_the_label_is_best():
    scenario = Periodic(d=4, r=2.0)
    target = scenario.draw_target(Draws(1))
    _, y = scenario.sample(target, 200_000, Draws(2))
    constant = scenario.score(y.mean().expand(len(y), 1), y)
    assert constant.mean().item() == pytest.approx(0, abs=0.01)
    assert scenario.score(torch.zeros(len(y), 1), y).mean() < 0
    assert torch.equal(scenario.score(y[:, None], y), torch.ones(len(y)))


def test_the_direction_is_uniform_on_the_sphere():
    scenario, stream = Periodic(d=3, r=2.0), Draws(0)
    drawn = torch.stack([scenario.draw_target(stream)["direction"] for _ in range(4000)])
    assert drawn.mean(0).abs().max() < 5 * 2 / math.sqrt(3 * 4000)
    second = drawn.T @ drawn / 4000
    assert (second - torch.eye(3) * 4 / 3).abs().max() < 0.15


@pytest.mark.parametrize(
    ("d", "r", "wave"), [(0, 1.0, "cosine"), (2, 0.0, "cosine"), (2, 1.0, "saw")]
)
def test_settings_that_make_no_sense_are_refused(d, r, wave):
    with pytest.raises(ValueError, match="wave one of"):
        Periodic(d=d, r=r, wave=wave)
