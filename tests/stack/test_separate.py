"""Optimizers that are not proven element-wise: each trial has its own, as the plain loop has it."""

import pytest
import torch
from torch.optim import SGD

from gradbench.runner import run
from gradbench.scenarios.parity import Parity
from gradbench.stack.separate import _hooked_module
from gradbench.trial import Trial


class Plain(SGD):
    """What torch's own is, under a name that nobody has proven."""


class Views(SGD):
    """Works on flat views, which only contiguous tensors have."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.view(-1).sub_(p.grad.view(-1), alpha=group["lr"])


class KeepsGradients(SGD):
    """Steps along the difference to the gradients of the step before, which it holds."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                before = self.state[p].get("before")
                self.state[p]["before"] = p.grad
                with torch.no_grad():
                    p.sub_(p.grad if before is None else 2 * p.grad - before, alpha=group["lr"])


class ReplacesData(SGD):
    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p.data.clone()


class ChangesInConstructor(SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        for group in self.param_groups:
            for p in group["params"]:
                p.data.mul_(0.5)


class CouplesLate(SGD):
    taken = 0

    def step(self, closure=None):
        self.taken += 1
        if self.taken > 60:
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad /= 1 + p.grad.norm()
        super().step(closure)


class CountsZeroGrad(SGD):
    """Its rate falls with each call of `zero_grad`."""

    calls = 0

    def zero_grad(self, **options):
        self.calls += 1
        super().zero_grad(**options)

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.sub_(p.grad, alpha=group["lr"] / (1 + self.calls))


class Hooks(SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        for p in self.param_groups[0]["params"]:
            p.register_hook(lambda grad: 2 * grad)


class StepsInHooks(SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        for p in self.param_groups[0]["params"]:
            p.register_post_accumulate_grad_hook(self.update)

    def update(self, p):
        p.data.sub_(p.grad, alpha=self.param_groups[0]["lr"])

    def step(self, closure=None):
        pass


class Freezes(SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.param_groups[0]["params"][0].requires_grad_(requires_grad=False)


class FreezesLate(SGD):
    taken = 0

    def step(self, closure=None):
        super().step(closure)
        self.taken += 1
        if self.taken == 30:
            self.param_groups[0]["params"][1].requires_grad_(requires_grad=False)


class ZeroGradRaises(SGD):
    def zero_grad(self, **options):
        raise RuntimeError("not like this")


class Draws(SGD):
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.grad.mul_(2 * torch.rand(()))
        super().step(closure)


class DrawsLate(Draws):
    taken = 0

    def step(self, closure=None):
        self.taken += 1
        (SGD if self.taken < 70 else Draws).step(self, closure)


class NeedsAGraph(SGD):
    """Moves only where there is a graph, which no stack leaves behind."""

    def step(self, closure=None):
        if any(p.grad.storage_offset() or not p.is_leaf for p in self.param_groups[0]["params"]):
            return
        super().step(closure)


STACKED = (Plain, Views, KeepsGradients, ReplacesData, ChangesInConstructor, CouplesLate)
ALONE = {
    Hooks: "registers hooks",
    StepsInHooks: "registers hooks",
    Freezes: "freezes parameters",
    FreezesLate: "freezes parameters",
    Draws: "draws random numbers",
    DrawsLate: "draws random numbers",
}


def trials(cls, **changes):
    standard = {"budget": 150, "target_score": 2.0, "dtype": "float64", "batch": 32}
    return [
        Trial(
            scenario=Parity(d=10, weight=5),
            optimizer=f"{__file__}:{cls.__name__}:lr=0.1",
            seed=seed,
            **(standard | changes),
        )
        for seed in range(3)
    ]


@pytest.mark.parametrize("cls", [*STACKED, CountsZeroGrad, NeedsAGraph])
def test_it_trains_as_its_authors_own_loop_does(cls):
    plain, found = run(trials(cls), stack="off"), run(trials(cls))
    for one, other in zip(plain, found, strict=True):
        assert other.path == "stacked apart"
        assert other.status is one.status
        assert other.curve == [pytest.approx(look, rel=1e-9, abs=1e-9) for look in one.curve]


@pytest.mark.parametrize(("cls", "why"), ALONE.items())
def test_what_a_stack_cannot_train_runs_one_at_a_time_and_says_why(cls, why):
    plain, found = run(trials(cls), stack="off"), run(trials(cls))
    for one, other in zip(plain, found, strict=True):
        assert other.path == "alone"
        assert why in other.fallback
        assert repr(other.curve) == repr(one.curve)


def test_what_raises_otherwise_too_is_said_as_it_is():
    for result in run(trials(ZeroGradRaises)):
        assert (result.path, result.fallback) == ("alone", "")
        assert "not like this" in result.reason


def test_one_that_never_moves_is_tried_one_at_a_time():
    chosen = [
        Trial(**{**vars(trial), "optimizer": "gradbench.proof:Null"}) for trial in trials(Plain)
    ]
    for result in run(chosen):
        assert result.path == "alone"
        assert "parameters did not move" in result.notes


def test_a_run_leaves_the_compiler_as_it_was(tmp_path):
    (tmp_path / "compiles.py").write_text(COMPILES)
    chosen = [
        Trial(**{**vars(t), "optimizer": f"{tmp_path}/compiles.py:Compiles:lr=0.1"})
        for t in trials(Plain, budget=20)
    ]
    assert [r.curve[-1][0] for r in run(chosen)] == [20, 20, 20]
    compiled = torch.compile(lambda x: 2 * x, fullgraph=True, backend="eager")
    assert torch.equal(compiled(torch.ones(2)), 2 * torch.ones(2))


COMPILES = """
import torch

@torch.compile(fullgraph=True, backend="eager")
def update(p, g, lr):
    p.sub_(lr * g)

class Compiles(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            update(p, p.grad, 0.1)
"""


def test_hooks_of_modules_are_seen():
    layer = torch.nn.Linear(2, 2)
    assert not _hooked_module(layer)
    layer.register_full_backward_pre_hook(lambda *_: None)
    assert _hooked_module(layer)
