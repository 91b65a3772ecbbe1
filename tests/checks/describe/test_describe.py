"""Measured properties against what theory, or the definition of the optimizer, says."""

import json
import math

import pytest

from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.describe import card as card_module
from gradbench.checks.describe import limits, symmetries, time_left
from gradbench.checks.describe.card import card
from gradbench.cli import main
from gradbench.optimizers.factory import resolve
from gradbench.timing import step_cost


def test_gradient_descent_is_stable_up_to_2_over_the_curvature():
    assert limits.largest_rate(resolve("sgd")) == pytest.approx(2, rel=0.01)


@pytest.mark.proof
@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_heavy_ball_is_stable_up_to_2_plus_2_beta(momentum):
    found = limits.largest_rate(resolve(f"sgd:momentum={momentum}"))
    assert found == pytest.approx(2 + 2 * momentum, rel=0.01)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("options", "law"),
    [
        ("momentum=0.9,nesterov=True", 3.8 / 2.8),
        pytest.param("momentum=0.5,dampening=0.5", 3 / 0.5, marks=pytest.mark.proof),
        pytest.param("momentum=0.5,nesterov=True", 3 / 2, marks=pytest.mark.proof),
    ],
)
def test_other_momentum_is_stable_up_to_its_law(options, law):
    factory = resolve(f"sgd:{options}")
    assert limits.largest_rate(factory) == pytest.approx(law, rel=0.01)
    stated = limits.momentum_law(options_of(factory))
    assert stated is not None
    assert stated[0] == pytest.approx(law)


@pytest.mark.proof
def test_no_law_of_gradient_descent_stands_beside_steps_of_another_kind():
    (found,) = [each for each in card("rmsprop") if each.name == "largest stable rate x curvature"]
    assert found.law == ""


def test_adams_step_moves_more_than_the_floor_counts_and_keeps_two_moments():
    ratio, state = step_cost.over_floor("adam", [(1024, 1024)], "cpu")
    assert state == pytest.approx(8, abs=1e-3)  # two moments of four bytes
    assert ratio > 1


def test_a_step_that_would_take_too_long_is_not_taken(tmp_path):
    (tmp_path / "slow.py").write_text(
        """if True:
        import time
        import torch

        class Slow(torch.optim.SGD):
            def step(self, closure=None):
                if self.param_groups[0]["params"][0].numel() > 1000:
                    raise AssertionError("the long step was taken")
                time.sleep(0.4)
                super().step()
        """
    )
    spec = f"{tmp_path}/slow.py:Slow:lr=0.1"
    assert step_cost.over_floor(spec, [(100, 100)], "cpu") == (None, 0.0)


@pytest.mark.parametrize(
    "delay", [1, *(pytest.param(tau, marks=pytest.mark.proof) for tau in (0, 2, 3, 4))]
)
def test_late_gradients_have_the_law_of_the_delay(delay):
    found = limits.largest_rate(resolve("sgd"), delay=delay)
    assert found == pytest.approx(2 * math.sin(math.pi / (4 * delay + 2)), rel=0.01)


@pytest.mark.parametrize("first", [0.9, pytest.param(0.5, marks=pytest.mark.proof)])
def test_adam_is_stable_up_to_38_over_the_rate_preconditioned(first):
    found = limits.largest_preconditioned_rate(resolve(f"adam:betas=({first},0.999)"))
    assert found == pytest.approx((2 + 2 * first) / (1 - first), rel=0.05)


def test_without_an_eps_nothing_is_preconditioned():
    assert limits.largest_preconditioned_rate(resolve("sgd")) is None


SCALES = {"loss times 100", "loss times 0.1"}
FOLLOWS = {
    "sgd": {"permutation", "sign flips", "translation", "rotation"},
    "adam": {"permutation", "sign flips", "translation"} | SCALES,
    "rprop": {"permutation", "sign flips", "translation"} | SCALES,
    "adamw:weight_decay=0.5,lr=0.1": {"permutation", "sign flips"} | SCALES,
}


@pytest.mark.parametrize(
    "spec", ["sgd", "adam", *(pytest.param(s, marks=pytest.mark.proof) for s in [*FOLLOWS][2:])]
)
def test_steps_follow_the_changes_that_the_definition_says(spec):
    found = symmetries.follows(resolve(spec))
    assert {name for name, holds in found.items() if holds} == FOLLOWS[spec]


@pytest.mark.parametrize(
    ("spec", "exponent"), [("sgd", 1), ("adam", 0), ("rprop", 0), ("adagrad", 0)]
)
def test_a_first_step_is_proportional_or_a_sign(spec, exponent):
    assert symmetries.first_step_exponent(resolve(spec)) == pytest.approx(exponent, abs=1e-2)


COUPLED = """
import torch

class PerTensor(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad / p.grad.norm())

class Global(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        every = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in every]).norm()
        for p in every:
            p.sub_(0.1 * p.grad / norm)
"""


def test_a_norm_of_the_tensor_or_of_all_couples(tmp_path):
    (tmp_path / "coupled_lab.py").write_text(COUPLED)
    lab = f"{tmp_path}/coupled_lab.py"
    assert symmetries.reach(resolve("adam")) == "its element"
    assert symmetries.reach(resolve(f"{lab}:PerTensor")) == "its tensor"
    assert symmetries.reach(resolve(f"{lab}:Global")) == "all parameters"


def test_memory_is_that_of_the_average():
    """After t steps momentum b has moved all but b^(t + 1) of its way."""
    assert symmetries.memory(resolve("sgd")) == 0
    found = symmetries.memory(resolve("sgd:momentum=0.9"))
    assert abs(found - math.log(0.01) / math.log(0.9)) <= 1.5


@pytest.mark.proof
def test_the_command_prints_cards_side_by_side(capsys):
    assert main(["describe", "sgd", "adam"]) == 0
    said = capsys.readouterr().out
    assert "largest stable rate x curvature" in said
    assert "38: (2 + 2 beta) / (1 - beta)" in said


def test_a_misspelt_name_is_one_line(capsys):
    assert main(["describe", "sgdd"]) == 4
    assert "did you mean sgd" in capsys.readouterr().err


@pytest.mark.proof
def test_the_command_says_what_an_optimizer_refuses(capsys):
    assert main(["describe", "muon"]) == 0
    said = capsys.readouterr().out
    assert "refused: UnsupportedError: it steps on matrices only" in said
    assert main(["describe", "muon", "--format=json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert {"name", "value", "law", "tolerance"} == set(found["properties"][0])


def test_a_path_that_diverges_is_deterministic_all_the_same():
    assert symmetries.deterministic(resolve("sgd:lr=1e30"))


def test_what_would_take_too_long_is_left_out_and_says_so():
    made = card_module.card("sgd:lr=0.1", seconds=0.0)
    found = {each.name: each.value for each in made}
    late = [f"the same, gradients {delay} late" for delay in (1, 2, 3, 4)]
    late += ["largest stable rate x curvature", "steps of memory"]
    assert {name for name, value in found.items() if value == time_left.LATE} == set(late)
    assert found["the same, preconditioned by eps = 1"] is None  # it has no eps


def test_steps_are_in_time_where_they_take_less_than_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time_left.time, "monotonic", lambda: now[0])

    def steps(_, start, loss, count):
        now[0] += 0.25 * count

    monkeypatch.setattr(time_left, "steps", steps)
    in_time = time_left.time_left(resolve("sgd"), 20.0)  # ten seconds are over by the two runs
    assert (in_time(39), in_time(41)) == (True, False)
    now[0] = 15.0
    assert (in_time(19), in_time(21)) == (True, False)
    monkeypatch.setattr(time_left, "steps", lambda *_: 1 / 0)
    assert time_left.time_left(resolve("sgd"), 20.0)(10**9)


def test_a_card_says_what_is_measured_next():
    said = []
    card_module.card("sgd:lr=0.1", seconds=0.0, progress=said.append)
    assert said == [
        f"sgd:lr=0.1: {each}"
        for each in ("time of a step", "symmetries", "steps", "limits", "cost")
    ]
