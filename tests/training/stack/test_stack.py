"""A trial's numbers in a stack: the same to the bit in any, and the plain module's in float64."""

import math
import random

import pytest
import torch

from gradbench import Trial
from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.allocation import Allocation
from gradbench.scenarios.curves import Curves
from gradbench.scenarios.line_tuples import LineTuples
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.saturation import Saturation
from gradbench.scenarios.steps import Steps
from gradbench.training.loop import Training
from gradbench.training.random_streams import isolated
from gradbench.training.runner import run, run_trial
from gradbench.training.stack import blocks
from gradbench.training.stack.loop import Stack
from gradbench.training.stack.parameters import StackedParameters
from gradbench.training.state import TrialState

RATES = (1e-1, 1e-2, 1e-3)
SEEDS = (0, 1, 2)
PARITY = Parity(d=5, weight=2)

NETWORKS = {
    "one layer": Allocation(d=20, k=3),
    "no bias": Curves(approach="linear", n=12),
    "filter": Curves(approach="convolution", n=12),
    "conditioned": Curves(approach="conditioned", n=12),
    "narrow within": Curves(approach="autoencoder", data="real", n=12),
    "tuples": LineTuples(k=2),
    "parity": PARITY,
    "sines": PARITY,
    "residual": PARITY,
    "sigmoids": Saturation(depth=3),
    "one unit": Steps(n=10),
    "many outputs": Steps(approach="multi-class", n=10),
}

WITHOUT_IMAGES = [
    pytest.param(name, marks=pytest.mark.proof if name == "tuples" else ()) for name in NETWORKS
]
"""Their names; images take as long as all others together."""

THREE = [
    pytest.param(name, marks=() if name in {"filter", "sigmoids", "sines"} else pytest.mark.proof)
    for name in NETWORKS
]

ON = {
    "sines": {"architecture": "sinusoidal:width=9"},
    "residual": {"architecture": "residual:width=7"},
}


def trials(scenario, optimizer="adam", *, budget=30, target=math.inf, **settings):
    settings = {"batch": 16, **settings}
    return [
        Trial(
            scenario=scenario,
            optimizer=optimizer,
            seed=seed,
            budget=budget,
            target_score=target,
            hyperparameters={"lr": rate},
            **settings,
        )
        for rate in RATES
        for seed in SEEDS
    ]


def rows(chosen, *, steps=30):
    """Train for so many steps without a look; return each trial's row."""
    with isolated(chosen[0]):
        trainings = [TrialState(t, TrialResult(t.seed, Status.UNSOLVED)) for t in chosen]
        stack = Stack(trainings)
        stack.advance(steps)
        return [stack.row(training) for training in trainings]


def curves(chosen, **how):
    return [repr(result.curve) for result in run(chosen, stack="on", **how)]


@pytest.mark.parametrize("name", THREE)
def test_a_curve_is_the_same_to_the_bit_in_any_stack(name, monkeypatch):
    chosen = trials(NETWORKS[name], **ON.get(name, {}))
    wanted = dict(zip(map(repr, chosen), curves(chosen), strict=True))

    def same(some):
        return [wanted[repr(trial)] for trial in some] == curves(some)

    assert same(chosen[::-1])
    assert same(random.Random(1).sample(chosen, 5))
    assert same(chosen[4:6])
    assert same(chosen[3:4])  # a lone one is padded to two
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    assert same(chosen)


@pytest.mark.parametrize("batch", [33, pytest.param(10, marks=pytest.mark.proof)])
@pytest.mark.parametrize(
    "name", ["tuples", "sigmoids", "many outputs", "sines", "residual", "wide"]
)
def test_nor_does_it_hang_on_lanes_that_a_trial_does_not_fill(name, batch):
    """Batches and widths of odd sizes, and exponentials, whose last numbers take another path."""
    networks = {**NETWORKS, "wide": Steps(approach="non-flat", n=7)}
    chosen = trials(networks[name], batch=batch, **ON.get(name, {}))
    wanted = rows(chosen)
    for places in ([0, 1], [2, 3, 4], [1, 3, 5, 7, 8], [8, 2], [4, 4]):
        found = rows([chosen[place] for place in places])
        assert all(torch.equal(wanted[i], row) for i, row in zip(places, found, strict=True))


@pytest.mark.parametrize("name", THREE)
def test_training_does_not_hang_on_the_number_of_threads(name):
    chosen = trials(NETWORKS[name], **ON.get(name, {}))
    wanted = curves(chosen)
    torch.set_num_threads(2)
    assert curves(chosen) == wanted
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("name", THREE)
def test_in_float64_it_is_the_plain_modules(name):
    for trial in trials(NETWORKS[name], dtype="float64", budget=100, **ON.get(name, {}))[:9:4]:
        (row,) = rows([trial, trial], steps=100)[:1]
        with isolated(trial):
            training = Training(trial, TrialResult(trial.seed, Status.UNSOLVED))
            training.advance(100)
            again = TrialState(trial, TrialResult(trial.seed, Status.UNSOLVED))
            plain = StackedParameters([training.network, again.network]).values[0]  # laid out alike
        assert (row - plain).norm() <= 1e-9 * plain.norm()


class Short(Parity):
    """A scenario that draws fewer examples than it was asked for."""

    def sample(self, target, n, draws):
        inputs, labels = super().sample(target, n, draws)
        return inputs[:-20], labels[:-20]


def test_each_example_of_a_short_batch_counts_once():
    settings = {"budget": 130, "batch": 32, "dtype": "float64"}
    chosen = trials(Short(d=5, weight=2), "sgd", **settings)
    for result, alone in zip(run(chosen, stack="on"), map(run_trial, chosen), strict=True):
        assert result.path == "stacked"
        assert result.curve[-1][2] == pytest.approx(alone.curve[-1][2], rel=1e-9)


def test_the_audit_of_networks_is_by_what_a_stack_knows():
    for architecture, path in (("mlp", "stacked"), ("normalised", "alone")):
        chosen = trials(PARITY, budget=5, architecture=architecture)
        assert {result.path for result in run(chosen, stack="on")} == {path}


def test_a_module_that_says_it_wrongly_is_found(tmp_path):
    """The stack's gradient is held against the plain network's."""
    (tmp_path / "net.py").write_text(WRONG)
    chosen = trials(PARITY, budget=5, architecture=f"{tmp_path}/net.py:make")
    results = run(chosen, stack="on")
    assert {result.path for result in results} == {"alone"}
    assert repr(results[0].curve) == repr(run_trial(chosen[0]).curve)


@pytest.mark.parametrize(
    "layers",
    [
        "Sequential(nn.ReLU(inplace=True), nn.Linear(5, 1))",
        "Identity(), nn.ReLU(inplace=True), nn.Linear(5, 1)",
    ],
)
def test_a_relu_in_place_overwrites_nothing(layers, tmp_path):
    made = f"nn.Sequential(nn.Linear(input_shape[0], 5), nn.{layers})"
    (tmp_path / "net.py").write_text(
        f"from torch import nn\ndef make(input_shape, output_size):\n    return {made}\n"
    )
    chosen = trials(PARITY, budget=20, architecture=f"{tmp_path}/net.py:make")
    results = run(chosen, stack="on")
    assert {(result.path, result.status) for result in results} == {("stacked", Status.UNSOLVED)}


class Strict(Parity):
    """Its loss raises on what is not finite, at a look or in training."""

    training = False

    def loss(self, outputs, labels):
        if torch.is_grad_enabled() == self.training and not outputs.isfinite().all():
            raise ValueError("not finite")
        return super().loss(outputs, labels)

    def evaluate(self, network, examples):
        return (0.0, 1.0) if self.training else super().evaluate(network, examples)


class StrictInTraining(Strict):
    training = True


@pytest.mark.parametrize("kind", [Strict, StrictInTraining])
def test_a_loss_that_raises_for_one_trial_ends_that_one_only(kind):
    chosen = trials(kind(d=5, weight=2), "sgd", budget=30)[:2]
    wild = [Trial(**{**vars(chosen[0]), "hyperparameters": {"lr": 1e25}})]
    results = run([*chosen, *wild], stack="on")
    assert [result.status for result in results][:2] == 2 * [Status.UNSOLVED]
    assert results[2].status in (Status.CRASHED, Status.DIVERGED)
    assert {result.path for result in results} == {"alone"}


def test_a_stack_has_no_seconds_of_its_own():
    (result, *_) = run(trials(PARITY, budget=200, target=0.5, batch=128), stack="on")
    assert result.evaluations_to_target is not None
    assert result.seconds is result.seconds_to_target is None


WRONG = """
from torch import nn

class Wrong(nn.Module):
    def __init__(self, size, outputs):
        super().__init__()
        self.layer = nn.Linear(size, outputs)

    def forward(self, x):
        return self.layer(x)

    def stacked(self, x, weights, parts):
        return parts["layer"](2 * x)

def make(input_shape, output_size):
    return Wrong(input_shape[0], output_size)
"""


@pytest.mark.parametrize(
    "spec", ["lbfgs", "adam+sam", "schedulefreeadamw", "muon", "es", "lamb", "prodigy"]
)
def test_what_asks_for_more_than_a_step_runs_alone_and_to_the_same_numbers(spec):
    chosen = trials(Saturation(depth=1, n=3), spec, budget=20)[:2]
    results = run(chosen, stack="on")
    for trial, result in zip(chosen, results, strict=True):
        assert result.path == "alone"
        assert repr(result.curve) == repr(run_trial(trial).curve)


def test_schedules_go_by_the_trials_own_budget():
    chosen = trials(PARITY, "adam+cosine:warmup=0.1", dtype="float64", budget=40)
    for trial, result in zip(chosen, run(chosen, stack="on"), strict=True):
        losses = [loss for _, _, loss in run_trial(trial).curve]
        assert [loss for _, _, loss in result.curve] == pytest.approx(losses, rel=1e-9)


def test_what_ends_leaves_and_the_others_keep_their_numbers():
    """At rate 0.1 all are solved soon, at 1e-3 late; each curve is that of a stack of its own."""
    chosen = trials(PARITY, budget=400, target=0.9, batch=128)
    results = run(chosen, stack="on")
    lengths = {result.gradient_evaluations for result in results}
    assert len(lengths) > 2
    assert all(result.status is Status.SOLVED for result in results)
    for trial, result in list(zip(chosen, results, strict=True))[::2]:
        assert repr(run([trial], stack="on")[0].curve) == repr(result.curve)
        assert result.evaluations_to_target == run_trial(trial).evaluations_to_target


def test_one_that_diverges_leaves_the_others_untouched():
    calm = trials(PARITY, "sgd", budget=60)
    wild = [
        Trial(
            scenario=PARITY,
            optimizer="sgd",
            budget=60,
            batch=16,
            target_score=math.inf,
            hyperparameters={"lr": 1e30},
        )
    ]
    results = run([*calm, *wild], stack="on")
    assert results[-1].status is Status.DIVERGED
    assert results[-1].gradient_evaluations < 60
    assert [repr(result.curve) for result in results[:-1]] == curves(calm)


def test_one_that_crashes_or_cannot_be_built_leaves_alone(odd):
    chosen = trials(PARITY, f"{odd}:CrashesAtHighRates", budget=30)
    for result, trial in zip(run(chosen, stack="on"), chosen, strict=True):
        alone = run_trial(trial)
        assert (result.status, result.reason) == (alone.status, alone.reason)
        assert result.gradient_evaluations == alone.gradient_evaluations
        assert result.path == "alone"
        assert not result.fallback
    statuses = [result.status for result in run(chosen, stack="on")]
    assert statuses == 6 * [Status.CRASHED] + 3 * [Status.UNSOLVED]


def test_results_come_in_the_trials_order_whatever_the_case():
    chosen = trials(PARITY, budget=10)[:3] + trials(Steps(n=10), budget=20)[:3]
    mixed = [chosen[i] for i in (0, 3, 1, 4, 2, 5)]
    assert [r.curve[-1][0] for r in run(mixed)] == [10, 20, 10, 20, 10, 20]
    assert [repr(r.curve) for r in run(mixed)] == [repr(r.curve) for t in mixed for r in run([t])]


@pytest.mark.proof
def test_probes_change_nothing():
    plain = trials(PARITY, budget=60)
    probed = trials(PARITY, budget=60, probes="all", probe_budget=30)
    results = run(probed, stack="on")
    assert all(result.informativeness for result in results)
    assert [repr(result.curve) for result in results] == curves(plain)


def test_a_stack_off_is_one_trial_after_another():
    chosen = trials(PARITY)[:2]
    for trial, result in zip(chosen, run(chosen, stack="off"), strict=True):
        assert result.path == "alone"
        assert result.blocks
        assert repr(result.curve) == repr(run_trial(trial).curve)


def test_memory_is_bounded_by_several_stacks(monkeypatch):
    from gradbench.training import runner

    chosen, made = trials(PARITY), []
    wanted = curves(chosen)
    one = runner.trial_bytes(TrialState(chosen[0], TrialResult(0, Status.UNSOLVED)))
    assert one >= 4 * 4 * 351 + 4 * 6 * (32 + 64 * 16)  # weights; held out and drawn: d + 1 numbers
    monkeypatch.setattr(runner, "MOST_BYTES", 4 * one)

    class Counted(Stack):
        def __init__(self, trainings, **how):
            made.append(len(trainings))
            super().__init__(trainings, **how)

    monkeypatch.setattr(runner, "Stack", Counted)
    assert curves(chosen) == wanted
    assert made == [4, 4, 2]  # the last is one, padded
