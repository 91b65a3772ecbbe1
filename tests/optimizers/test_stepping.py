"""How a step takes its closure, and what modes are worth, is found by trying: not by names."""

import pytest

from gradbench import Trial, run_trial
from gradbench.optimizers.factory import resolve
from gradbench.scenarios.parity import Parity

KINDS = """
import torch

class Plain(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def go(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=-group["lr"])

    def ask(self, closure):
        with torch.enable_grad():
            loss = closure()
        self.go()
        return loss

    def step(self, closure=None):
        self.go()

class Asserts(Plain):
    def step(self, closure=None):
        assert closure is not None
        return self.ask(closure)

class Renamed(Plain):
    def step(self, evaluate=None):
        if evaluate is None:
            raise ValueError("pass a function")
        return self.ask(evaluate)

class KeywordOnly(Plain):
    def step(self, *, closure):
        return self.ask(closure)

class KeywordRenamed(Plain):
    def step(self, *, evaluate=None):
        return self.ask(evaluate)

class AnyKeyword(Plain):
    def step(self, **given):
        return self.ask(given["closure"])

class PositionOnly(Plain):
    def step(self, closure, /):
        return self.ask(closure)

class Behind(Plain):
    def step(self, metrics=None, closure=None):
        assert metrics is None
        return self.ask(closure)

class Optional(Plain):
    def step(self, *, closure=None):
        self.go() if closure is None else self.ask(closure)

class OwnBackward(Plain):
    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
            self.zero_grad()
            loss.backward()
        self.go()

class OtherModes(Plain):
    def train(self, data):
        raise AssertionError
    eval = train

class InstanceModes(Plain):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.training = False
        self.train = lambda: setattr(self, "training", True)
        self.eval = lambda: setattr(self, "training", False)

    def step(self, closure=None):
        assert self.training
        self.go()

class NoFusion(Plain):
    def fused_backward(self, loss, rate):
        raise NotImplementedError
"""

KEYWORDS = {"KeywordOnly": "closure", "KeywordRenamed": "evaluate", "AnyKeyword": "closure"}
CLOSURES = {*KEYWORDS, "Asserts", "Renamed", "PositionOnly", "Behind", "OwnBackward"}
OTHERS = {"Optional", "OtherModes", "InstanceModes", "NoFusion"}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    path = tmp_path_factory.mktemp("kinds") / "kinds.py"
    path.write_text(KINDS)
    return path


def curve(spec):
    result = run_trial(Trial(scenario=Parity(d=5, weight=2), optimizer=spec, budget=60, batch=32))
    assert result.status in {"solved", "unsolved"}, result.reason
    return result.curve


@pytest.mark.parametrize("name", sorted(CLOSURES | OTHERS))
def test_every_way_of_taking_a_step_trains_as_the_plain_one(kinds, name):
    assert curve(f"{kinds}:{name}") == curve(f"{kinds}:Plain")
    requirements = resolve(f"{kinds}:{name}").requirements
    assert requirements.closure == (name in CLOSURES)
    assert requirements.closure_name == (KEYWORDS | {"Behind": "closure"}).get(
        name, requirements.closure_name
    )
    assert requirements.modes == (name == "InstanceModes")
    assert not requirements.fused
