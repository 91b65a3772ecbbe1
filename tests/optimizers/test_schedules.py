"""Schedules of the rate, against torch's own and by hand."""

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR

from gradbench import Trial, run_trial
from gradbench.optimizers.factory import resolve
from gradbench.optimizers.schedules import Cosine, Linear, Warmup
from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.saturation import Saturation
from gradbench.spec import SpecError
from gradbench.training.loop import Training

BUDGET = 40


def rates(spec, *, steps=BUDGET, budget=BUDGET):
    scenario = Saturation(approach="dying", n=4, bias=0.0)
    trial = Trial(scenario=scenario, optimizer=spec, budget=budget, batch=8)
    training = Training(trial, TrialResult(0, Status.UNSOLVED))
    found = []
    for inputs, labels in training.batches.take(steps):
        found.append(training.optimizer.param_groups[0]["lr"])
        training.step(inputs, labels)
    return found, training.spent


def torchs(cls, **arguments):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    schedule, found = cls(optimizer, **arguments), []
    for _ in range(BUDGET):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_without_one_the_rate_is_constant():
    assert set(rates("sgd:lr=0.2")[0]) == {0.2}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("cosine", torchs(CosineAnnealingLR, T_max=BUDGET)),
        ("cosine:end=0.1", torchs(CosineAnnealingLR, T_max=BUDGET, eta_min=0.02)),
        ("linear", torchs(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=BUDGET)),
        ("warmup:warmup=0.25", torchs(LinearLR, start_factor=0.1, total_iters=9)),
        ("CosineAnnealingLR:T_max=7", torchs(CosineAnnealingLR, T_max=7)),
    ],
)
def test_a_schedule_is_torchs(spec, wanted):
    assert rates(f"sgd:lr=0.2+{spec}")[0] == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_warm_up_comes_before_the_fall_and_the_fall_ends_with_the_budget():
    found, _ = rates("sgd:lr=1.0+cosine:warmup=0.25")
    assert found[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert found[10] == max(found)
    assert found[10:] == sorted(found[10:], reverse=True)
    assert Cosine(warmup=0.25).factor(BUDGET, BUDGET) == pytest.approx(0)
    assert Linear(end=0.5).factor(BUDGET, BUDGET) == 0.5
    assert Warmup(warmup=0.0).factor(0, BUDGET) == 1


def test_it_goes_by_evaluations_not_by_steps():
    (_, second), spent = rates("lbfgs:lr=1.0,max_iter=3+linear", steps=2, budget=100)
    _, first = rates("lbfgs:lr=1.0,max_iter=3+linear", steps=1, budget=100)
    assert 1 < first < spent
    assert second == pytest.approx(1 - first / 100)


def test_a_schedule_that_sets_rates_of_its_own_leaves_nothing_to_tune():
    assert not resolve("sgd+OneCycleLR:max_lr=0.1,total_steps=60").tunable
    assert resolve("sgd+StepLR:step_size=3").tunable
    assert resolve("sgd+cosine").tunable


def test_two_of_them_multiply():
    both, _ = rates("sgd:lr=0.2+linear+warmup:warmup=0.5")
    fall, rise = rates("sgd:lr=1.0+linear")[0], rates("sgd:lr=0.2+warmup:warmup=0.5")[0]
    assert both == pytest.approx([a * b for a, b in zip(fall, rise, strict=True)])


def test_a_schedule_from_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch.optim.lr_scheduler import LambdaLR\n"
        "class Halves(LambdaLR):\n"
        "    def __init__(self, optimizer, every=10):\n"
        "        super().__init__(optimizer, lambda t: 0.5 ** (t // every))\n"
    )
    found, _ = rates(f"sgd:lr=1.0+{tmp_path}/mine.py:Halves:every=20")
    assert found == [1.0] * 20 + [0.5] * 20


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("sgd+cosine:warmup=1.5", "share of the budget"),
        ("sgd+cosine:start=1", "it takes warmup, end"),
        ("sgd+StepLR", "step_size"),
        ("sgd+StepLR:step_size=0", "zero"),
        ("sgd+ReduceLROnPlateau", "metrics"),
        ("sgd+cosine:end=-1", "from 0 on"),
        ("sgd+cosine+StepLR:step_size=3", "do not mix"),
        ("sgd+", "no optimizer spec"),
        ("sgd+nosuch", "unknown optimizer 'nosuch'"),
    ],
)
def test_what_cannot_be_used_says_why(spec, told):
    with pytest.raises(SpecError, match=told):
        resolve(spec)


def test_an_optimizer_without_a_rate_is_unsupported(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Fixed(torch.optim.Optimizer):\n"
        "    def __init__(self, params):\n"
        "        super().__init__(params, {})\n"
        "    def step(self, closure=None): ...\n"
    )
    scenario = Saturation(approach="dying", n=4, bias=0.0)
    result = run_trial(Trial(scenario=scenario, optimizer=f"{tmp_path}/mine.py:Fixed+cosine"))
    assert result.status == Status.UNSUPPORTED
    assert result.reason == "it has no learning rate that a schedule could change"
