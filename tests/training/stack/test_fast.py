"""Stacks made faster on request: steps recorded and replayed."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradbench.scenarios.curves import Curves
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.saturation import Saturation
from gradbench.training.runner import run
from gradbench.training.stack import graph_capture, loop
from gradbench.training.trial import Trial

RATES = (0.1, 0.01, 0.001)
NETWORKS = {
    "parity": Parity(d=5, weight=2),
    "filter": Curves(approach="convolution", n=12),
    "sigmoids": Saturation(depth=3),
}


class Recorder(TorchDispatchMode):
    """Stands in for an accelerator's graph: replays operations on the storage they worked on."""

    def __init__(self, step, device):
        super().__init__()
        self.step, self.steps, self.log = step, 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.log.append((function, args, kwargs or {}, out))
        return out

    def __call__(self):
        self.steps += 1
        if self.steps <= graph_capture.WARM:
            self.step()
        elif not self.log:
            with self:
                self.step()
        else:
            with torch.no_grad():
                self.replay()

    def replay(self):
        for function, args, kwargs, out in self.log:
            again = function(*args, **kwargs)
            old, new = (x if isinstance(x, tuple | list) else [x] for x in (out, again))
            for place, value in zip(old, new, strict=True):
                if isinstance(value, torch.Tensor) and place.data_ptr() != value.data_ptr():
                    place.copy_(value)


class Counts(torch.optim.SGD):
    """Says that its step can be recorded, and counts its steps in Python."""

    gradbench_needs: ClassVar = {"elementwise": True}
    steps = 0

    def __init__(self, params, lr):
        super().__init__(params, lr)
        self.param_groups[0]["capturable"] = True

    def step(self, closure=None):
        self.steps += 1
        self.param_groups[0]["lr"] /= self.steps
        super().step(closure)


def trials(scenario, optimizer, seeds=3, **settings):
    return [
        Trial(
            scenario=scenario,
            optimizer=optimizer,
            seed=seed,
            budget=60,
            batch=16,
            target_score=2.0,
            **settings,
        )
        for seed in range(seeds)
    ]


def curves(results):
    return [repr(result.curve) for result in results]


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(loop, "Graph", Recorder)


@pytest.mark.parametrize("optimizer", ["sgd:momentum=0.9,lr=0.1", "adam"])
def test_without_an_accelerator_there_are_no_graphs(optimizer):
    chosen = trials(NETWORKS["parity"], optimizer)
    found = run(chosen, stack="graph")
    assert curves(found) == curves(run(chosen))
    assert found[0].path == "stacked"
    assert "cpu records no graphs" in found[0].fallback


@pytest.mark.parametrize("name", ["parity", "filter", "sigmoids"])
def test_replayed_steps_are_steps(name, recorded):
    """Trials leave on the way, so graphs are recorded anew."""
    chosen = [
        *trials(NETWORKS[name], "sgd:momentum=0.9,lr=0.1", 2),
        *trials(NETWORKS[name], "sgd:momentum=0.9,lr=0.1", 5, hyperparameters={"lr": 1e30})[2:],
    ]
    found = run(chosen, stack="graph")
    assert {(result.path, result.fallback) for result in found} == {("stacked, graph", "")}
    assert curves(found) == curves(run(chosen))
    assert found[4].status.value == "diverged"


def test_a_graphs_batch_is_its_own_where_all_rows_share_one(recorded):
    rates = [
        replace(trials(NETWORKS["parity"], "sgd")[0], hyperparameters={"lr": r}) for r in RATES
    ]
    found = run(rates, stack="graph")
    assert {(result.path, result.fallback) for result in found} == {("stacked, graph", "")}
    assert curves(found) == curves(run(rates))


@pytest.mark.parametrize(
    ("optimizer", "why"),
    [
        ("adagrad", "Adagrad is not capturable"),
        ("adam+cosine", "of a schedule"),
        (f"{__file__}:Counts:lr=0.5", "is not one of torch.optim"),
    ],
)
def test_what_cannot_be_recorded_falls_back(recorded, optimizer, why):
    chosen = trials(NETWORKS["parity"], optimizer)
    found = run(chosen, stack="graph")
    assert curves(found) == curves(run(chosen))
    assert why in found[0].fallback
