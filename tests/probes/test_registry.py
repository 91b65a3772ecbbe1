"""Probes within a trial: they change nothing, keep their budget, and never end it."""

import math

import pytest
import torch

from gradbench.probes import flatness, registry, signal_to_noise
from gradbench.probes.gradients import each_gradient, float64_copy, squared_norms
from gradbench.probes.reading import Reading, nothing, positive
from gradbench.scenarios.allocation import Allocation
from gradbench.scenarios.curves import Curves
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.line_tuples import LineTuples
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic
from gradbench.scenarios.saturation import Saturation
from gradbench.scenarios.steps import Steps
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial, probe_steps

SCENARIOS = [
    Parity(d=8, weight=4),
    Parity(d=15, weight=7),
    Periodic(d=5, r=2.0),
    LineTuples(k=2),
    LineTuples(approach="decomposition", k=2),
    Allocation(d=20, k=5),
    Curves(approach="convolution", n=20),
    Curves(approach="autoencoder", data="real", n=20),
    Steps(approach="forward-only", n=10),
    Steps(approach="multi-class", n=10),
    Saturation(depth=3),
]
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: str(s)[:40])


def trial(scenario, **changes):
    given = {"optimizer": "adam:lr=0.01", "budget": 64, "batch": 20, "target_score": math.inf}
    return Trial(**({"scenario": scenario, "probe_budget": 32} | given | changes))


@every_scenario
@pytest.mark.parametrize("which", ["default", pytest.param("all", marks=pytest.mark.proof)])
def test_measuring_changes_nothing(scenario, which):
    bare, probed = (run_trial(trial(scenario, probes=p)) for p in ("none", which))
    assert probed.reason is None
    assert probed.curve == bare.curve
    assert probed.gradient_evaluations == bare.gradient_evaluations
    assert not bare.informativeness
    assert probed.informativeness
    assert run_trial(trial(scenario, probes=which)).informativeness == probed.informativeness


@pytest.mark.parametrize("spec", ["lbfgs:max_iter=3", "es", "{odd}:Noisy"])
@pytest.mark.filterwarnings("ignore:noisy")
def test_measuring_changes_nothing_for_closures_and_random_optimizers(spec, odd):
    scenario = Parity(d=8, weight=4)
    bare, probed = (
        run_trial(trial(scenario, optimizer=spec.format(odd=odd), probes=p))
        for p in ("none", "all")
    )
    assert probed.curve == bare.curve
    assert any("update" in entry["probe"] for entry in probed.informativeness)


@every_scenario
def test_the_familys_own_probe_comes_first_and_looks_begin_at_the_start(scenario):
    found = run_trial(trial(scenario, probes="default")).informativeness
    assert found[0]["probe"] == registry.HEADLINE[scenario.family]
    assert found[0]["evaluations"] == 0
    evaluation_steps = list(dict.fromkeys(entry["evaluations"] for entry in found))
    assert evaluation_steps == [*probe_steps(64), 64]
    assert not any("Error" in entry["note"] for entry in found)


@every_scenario
@pytest.mark.parametrize(("which", "examples"), [("default", 2500), ("all", 12_000)])
def test_a_look_keeps_its_budget(scenario, which, examples):
    """By the costs that the probes state, of which those of pools and waves were calibrated."""
    target = scenario.draw_target(Draws(0))
    names = registry.chosen(which, scenario.family)
    found = registry.measure(
        scenario, target, scenario.network(Draws(0)), names=names, examples=examples, seed=1
    )
    assert sum(reading.cost for reading in found) <= examples
    assert {name for name in names if name != "alignment"} <= {r.probe for r in found}


class OneCurve(Curves):
    """Data of one curve, so that every batch has the same gradient."""

    def sample(self, target, n, draws):
        f, p = super().sample(target, 1, Draws(0))
        return f.expand(n, -1), p.expand(n, -1)


def test_the_update_is_the_last_steps():
    """Under slow plain gradient descent on one curve it points as the gradient does."""
    scenario = OneCurve(approach="convolution", n=20)
    for rate, turned in ((1e-9, 1), (-1e-9, -1)):
        t = trial(scenario, optimizer=f"sgd:lr={abs(rate)},maximize={rate < 0}", probes="default")
        readings = run_trial(t).informativeness
        last = {e["probe"]: e["value"] for e in readings if e["evaluations"] == 64}
        gradient, update = (
            last[f"alignment in parameters of the {name}"] for name in ("gradient", "update")
        )
        assert update == pytest.approx(turned * gradient, abs=1e-3)


def test_a_probe_that_fails_says_so_and_the_trial_goes_on(monkeypatch):
    def broken(view):
        raise RuntimeError("no luck\nmore")

    monkeypatch.setitem(registry.PROBES, registry.TARGET, broken)
    result = run_trial(trial(Parity(d=5, weight=2), probes="default"))
    assert result.status == "unsolved"
    assert result.informativeness[0]["note"] == "RuntimeError: no luck"
    assert result.informativeness[0]["value"] is None


def test_a_solved_trial_is_looked_at_once_more_at_its_end():
    result = run_trial(
        trial(Parity(d=5, weight=2), budget=1000, target_score=0.9, probes="default")
    )
    assert result.status == "solved"
    assert result.informativeness[-1]["evaluations"] == result.curve[-1][0]


class Numbers(torch.nn.Module):
    """Takes a number out of its tensor, which vmap refuses, unless it was told otherwise."""

    def forward(self, x):
        return x if not self.training else x + 0 * x.sum().item()


def test_what_vmap_refuses_goes_one_by_one():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(3, 4), Numbers(), torch.nn.ReLU(), torch.nn.Linear(4, 1)
    )
    loss = Parity(d=3, weight=1).loss
    batch = (torch.randn(10, 3), torch.ones(10))
    rows, path = each_gradient(float64_copy(network, loss), batch)
    assert path == "loop"
    of = float64_copy(network, loss)
    assert torch.allclose(rows.mean(dim=0), of.gradient(batch))
    still = network.eval()
    rows, path = each_gradient(float64_copy(still, loss), batch)
    assert path == "vmap"
    singles = [
        float64_copy(still, loss).gradient((x[None], y[None])) for x, y in zip(*batch, strict=True)
    ]
    assert torch.allclose(rows, torch.stack(singles))


@pytest.mark.parametrize("prefix", ["", "0.", "2.0.bias"])
def test_lengths_by_layers_are_those_of_the_gradients_themselves(prefix):
    torch.manual_seed(0)
    inner = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    network = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), inner)
    batch = (torch.randn(12, 3), torch.randn(12).sign())
    of = float64_copy(network, Parity(d=3, weight=1).loss, prefix)
    found, path = squared_norms(of, batch)
    assert path == "layers"
    assert torch.allclose(found, each_gradient(of, batch)[0].square().sum(dim=1))


def test_other_networks_take_their_gradients_lengths():
    torch.manual_seed(0)
    shared = torch.nn.Linear(3, 3)
    loss = Parity(d=3, weight=1).loss
    batch = (torch.randn(12, 3), torch.randn(12).sign())
    networks = {
        "vmap": torch.nn.Sequential(shared, torch.nn.ReLU(), shared, torch.nn.Linear(3, 1)),
        "loop": torch.nn.Sequential(torch.nn.Linear(3, 4), Numbers(), torch.nn.Linear(4, 1)),
    }
    for wanted, network in networks.items():
        found, path = squared_norms(float64_copy(network, loss), batch)
        assert path == wanted
        rows, _ = each_gradient(float64_copy(network, loss), batch)
        assert torch.allclose(found, rows.square().sum(dim=1))


def test_readings_print_bounds_where_nothing_is_resolved():
    noise = positive("p", 1e-4, 1e-3)
    assert (noise.resolved, str(noise)) == (False, "<0.0021")
    assert positive("p", -5e-3, 1e-3).bound == pytest.approx(1.96e-3, rel=1e-3)
    assert str(positive("p", 0.5, 0.01)) == "0.5"
    assert str(nothing("p", "why")) == "-"
    assert positive("p", math.nan, 0.0).value is None
    with pytest.raises(ValueError, match="p has no value: why"):
        _ = nothing("p", "why").interval
    assert noise.plain(3)["bound"] == pytest.approx(1e-4 + 1.96e-3, rel=1e-3)
    assert Reading("p", 1.0).plain(0)["bound"] is None


def test_the_signal_is_that_of_the_target_in_training():
    """A parity learned with a margin has no gradient left; another target's is large."""
    scenario = Parity(d=6, weight=3)
    target = {"support": torch.tensor([0, 2, 5])}
    network = scenario.solution(target)
    with torch.no_grad():
        for p in list(network.parameters())[2:]:
            p.mul_(2)
    for names in (["signal-to-noise ratio"], ["second moment"]):
        (own,) = registry.measure(scenario, target, network, names=names, examples=2000, seed=0)
        other = {"support": torch.tensor([1, 2, 3])}
        (far,) = registry.measure(scenario, other, network, names=names, examples=2000, seed=0)
        assert own.value in (None, 0.0)
        assert far.value > 0
    assert own.value == 0.0
    assert signal_to_noise(scenario, network, target=target).note == "the gradient is zero"


@pytest.mark.parametrize(
    ("spec", "budget"),
    [("lbfgs", 600), ("lbfgs", 100), ("es:pairs=32", 600), ("adam:lr=0.01", 600)],
)
def test_looks_are_at_the_first_look_past_each_point_and_at_the_end(spec, budget):
    t = trial(Parity(d=15, weight=7), optimizer=spec, budget=budget, probes="default")
    result = run_trial(t)
    looked = list(dict.fromkeys(entry["evaluations"] for entry in result.informativeness))
    seen = [evaluations for evaluations, _, _ in result.curve]
    due = [next(e for e in seen if e >= point) for point in probe_steps(budget)]
    assert looked == list(dict.fromkeys([*due, seen[-1]]))


def test_activations_in_place_and_shared_weights_are_measured_right():
    torch.manual_seed(0)
    loss = Parity(d=3, weight=1).loss
    first, second = torch.nn.Linear(3, 8), torch.nn.Linear(8, 1)
    batch = (torch.randn(40, 3), torch.randn(40).sign())
    plain, in_place = (
        torch.nn.Sequential(first, torch.nn.ReLU(inplace=flag), second) for flag in (False, True)
    )
    for measure in (
        lambda n: squared_norms(float64_copy(n, loss), batch)[0].sum().item(),
        lambda n: flatness(n, loss, batch).gain,
        lambda n: flatness(n, loss, batch).dead["0"],
    ):
        assert measure(plain) == pytest.approx(measure(in_place), rel=1e-9)
    assert in_place[1].inplace
    a, b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    b.weight = a.weight
    tied = torch.nn.Sequential(a, torch.nn.ReLU(), b, torch.nn.Linear(3, 1))
    found, path = squared_norms(float64_copy(tied, loss), batch)
    assert path != "layers"
    assert torch.allclose(
        found, each_gradient(float64_copy(tied, loss), batch)[0].square().sum(dim=1)
    )


def test_few_examples_are_enough_to_look():
    scenario = Saturation(depth=2)
    target = scenario.draw_target(Draws(0))
    names = registry.chosen("all", "flatness")
    found = registry.measure(
        scenario, target, scenario.network(Draws(0)), names=names, examples=30, seed=0
    )
    assert not any("Error" in reading.note for reading in found)


def test_without_a_budget_nothing_is_probed():
    assert not run_trial(trial(Parity(d=5, weight=2), probes="all", probe_budget=0)).informativeness
