"""A start at the target takes 0 evaluations, which are fewer than any other number."""

import math

import pytest

from gradbench.analysis import baseline, comparison
from gradbench.results.record import read

SUITE = """
from dataclasses import dataclass
from typing import ClassVar

import pytest, torch
from torch import nn
from gradbench import Case, Expectation, Scenario


@dataclass(frozen=True)
class Near(Scenario):
    name: ClassVar[str] = "near"
    family: ClassVar[str] = "conditioning"
    section: ClassVar[str] = "-"
    claim: ClassVar[str] = "a start at the target is there"
    chance: ClassVar[float] = 0.0
    best: ClassVar[float] = 1.0

    def draw_target(self, generator):
        w = torch.randn(1, 4, generator=generator, device=generator.device)
        return {"w": 1 + 0.1 * w / w.norm()}

    def sample(self, target, n, generator):
        x = torch.randn(n, 4, generator=generator, device=generator.device)
        return x, x @ target["w"].to(x).T

    def held_out(self, target, generator):
        return self.sample(target, 512, generator)

    def network(self):
        made = nn.Linear(4, 1, bias=False)
        nn.init.ones_(made.weight)
        return made

    def loss(self, outputs, labels):
        return (outputs - labels)[:, 0].square()

    def score(self, outputs, labels):
        return 1 - (outputs - labels)[:, 0].square()

    def solution(self, target):
        made = self.network()
        with torch.no_grad():
            made.weight.copy_(target["w"])
        return made

    def trivial(self, target):
        made = self.network()
        nn.init.zeros_(made.weight)
        return made


def cases(preset):
    where = f"{__name__}:Near"
    yield Case(id="near", scenario=where, budget=40, batch=32, expectation=Expectation.MAY)


@pytest.mark.gradbench(cases=cases)
def test_near(attempt):
    attempt()
"""


def run(pytester, *options):
    pytester.makepyfile(test_near=SUITE)
    common = ("--gb-seeds=8", "--gb-tune=0", "--gb-probes=none", "--gb-engine=inline")
    return pytester.runpytest("-p", "no:cacheprovider", *common, *options)


def test_a_start_at_the_target_wins(pytester):
    result = run(pytester, "--optimizer=sgd:lr=0.01", "--optimizer=adam:lr=0.5")
    assert result.ret == 0
    here, there = read(pytester.path / "reports/latest/records.jsonl")
    assert [t["evaluations_to_target"] for t in here.trials] == [0] * 8
    assert all(t["evaluations_to_target"] > 1 for t in there.trials)
    found = comparison.compare([here], [there])
    assert (found.cases[0].solved_a, found.cases[0].wins) == (8, 8)
    # by hand: 0 evaluations count as one in ratios
    logs = [-math.log(t["evaluations_to_target"]) for t in there.trials]
    assert found.cases[0].ratio == pytest.approx(math.exp(sum(logs) / 8))
    assert baseline.change("conditioning", "a", [there], [here], families=1).regressed
    assert not baseline.change("conditioning", "a", [here], [there], families=1).regressed


OPTIMIZER = """
from torch.optim import SGD, Adam

class Mine({base}):
    def __init__(self, params):
        super().__init__(params, lr={rate})
"""
NEAR = {"base": "SGD", "rate": 0.01}
FAR = {"base": "Adam", "rate": 0.5}


@pytest.mark.parametrize(("old", "new", "code"), [(NEAR, FAR, 1), (FAR, NEAR, 0)])
def test_the_gate_knows_which_of_both_is_slower(pytester, old, new, code):
    options = ("--optimizer=./opt.py:Mine", "--gb-baseline=base.json", "--gb-gate=baseline")
    (pytester.path / "opt.py").write_text(OPTIMIZER.format(**old))
    assert run(pytester, *options, "--gb-update-baseline").ret == 0
    (pytester.path / "opt.py").write_text(OPTIMIZER.format(**new))
    result = run(pytester, *options)
    result.stdout.fnmatch_lines(
        [f"*conditioning {'regressed' if code else 'better'}: evaluations*"]
    )
    assert result.ret == code
