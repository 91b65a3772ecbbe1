"""Optimizers that are not proven element-wise train as their authors' own loop does, to the bit."""

from typing import ClassVar

import pytest
import torch
from torch.optim import SGD

from gradbench.scenarios.parity import Parity
from gradbench.training.runner import run
from gradbench.training.trial import Trial


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


class Declared(SGD):
    gradbench_needs: ClassVar = {"elementwise": True}


class DeclaredHooks(Hooks):
    gradbench_needs: ClassVar = {"elementwise": True}


class DeclaredFreezes(Freezes):
    gradbench_needs: ClassVar = {"elementwise": True}


class DeclaredDraws(DrawsLate):
    gradbench_needs: ClassVar = {"elementwise": True}


class DeclaredRaises(SGD):
    """Raises on three tensors' worth of rows, which no trial by itself has."""

    gradbench_needs: ClassVar = {"elementwise": True}

    def step(self, closure=None):
        if self.param_groups[0]["params"][0].shape[0] == 3:
            raise ValueError("three")
        super().step(closure)


class DeclaredStill(SGD):
    gradbench_needs: ClassVar = {"elementwise": True}

    def step(self, closure=None):
        pass


EVERY = (
    *(Plain, Views, KeepsGradients, ReplacesData, ChangesInConstructor, CouplesLate),
    *(CountsZeroGrad, Hooks, StepsInHooks, Freezes, FreezesLate, ZeroGradRaises, Draws, DrawsLate),
)
DECLARED = {
    DeclaredHooks: "registers hooks",
    DeclaredFreezes: "freezes parameters",
    DeclaredDraws: "draws random numbers",
    DeclaredRaises: "ValueError: three",
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


@pytest.mark.parametrize(
    "cls",
    [
        pytest.param(cls, marks=pytest.mark.proof if place % 3 else ())
        for place, cls in enumerate(EVERY)
    ],
)
def test_it_trains_as_its_authors_own_loop_does(cls):
    plain, found = run(trials(cls), stack="off"), run(trials(cls))
    for one, other in zip(plain, found, strict=True):
        assert (other.path, other.status) == ("alone", one.status)
        assert repr(other.curve) == repr(one.curve)


@pytest.mark.parametrize(("cls", "why"), DECLARED.items())
def test_one_that_says_that_it_is_element_wise_but_cannot_be_stacked_says_why(cls, why):
    plain, found = run(trials(cls), stack="off"), run(trials(cls))
    for one, other in zip(plain, found, strict=True):
        assert other.path == "alone"
        assert why in other.fallback
        assert repr(other.curve) == repr(one.curve)


def test_one_that_never_moves_is_tried_one_at_a_time():
    for result in run(trials(DeclaredStill)):
        assert (result.path, result.fallback) == ("alone", "")
        assert "parameters did not move" in result.notes


def test_one_that_says_so_rightly_is_stacked():
    plain, found = run(trials(Declared), stack="off"), run(trials(Declared))
    for one, other in zip(plain, found, strict=True):
        assert other.path == "stacked"
        assert other.curve == [pytest.approx(look, rel=1e-9, abs=1e-9) for look in one.curve]


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
