"""Two optimizers are the same algorithm or not, and planted mistakes are found and named."""

import json
import sys

import pytest
import torch

import gradbench
from gradbench import parametrize_with_conformance
from gradbench.checks.conform.comparison import NothingComparedError, aligned, conform
from gradbench.checks.conform.forms import FORMS, NotHereError, against
from gradbench.cli import main
from gradbench.optimizers.factory import resolve

STEP = """
import torch
from torch.optim import Optimizer

class Adam(Optimizer):
    '''Adam with decoupled or coupled decay, as it should be.'''

    factor, sign, ahead = 1.0, 1, 0
    coupled = decay_after = ignores = still = inside = swapped = False
    first_corrected = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and not self.still:
                    self.one(group, p)

    def one(self, group, p):
        lr, eps, decay = group["lr"], group["eps"], group["weight_decay"]
        b1, b2 = group["betas"][::-1] if self.swapped else group["betas"]
        state, g = self.state[p], p.grad
        if not state:
            state.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
        state["t"] += 1
        t = state["t"] + self.ahead
        if self.ignores:
            decay = 0.0
        if self.coupled:
            g = g + decay * p
        elif not self.decay_after:
            p.mul_(1 - lr * decay)
        state["m"] = b1 * state["m"] + (1 - b1) * g
        state["v"] = b2 * state["v"] + (1 - b2) * g * g
        m = state["m"] / (1 - b1 ** t) if self.first_corrected else state["m"]
        v = state["v"] / (1 - b2 ** t)
        root = (v + eps).sqrt() if self.inside else v.sqrt() + eps
        p.sub_(self.sign * self.factor * lr * m / root)
        if self.decay_after and not self.coupled:
            p.mul_(1 - lr * decay)

class Coupled(Adam):
    coupled = True

class AfterTheStep(Adam):
    decay_after = True

class MinusTwice(Adam):
    sign = -1

class Ignores(Adam):
    ignores = True

class OverShards(Adam):
    factor = 1 / 1.6

class Still(Adam):
    still = True

class Ahead(Adam):
    ahead = 1

class FirstMoment(Adam):
    first_corrected = False

class Inside(Adam):
    inside = True

class Swapped(Adam):
    swapped = True

class Forgets(Adam):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        for each in self.state.values():
            each["v"] = torch.zeros_like(each["v"])

class OtherArguments(Optimizer):
    def __init__(self, params):
        super().__init__(params, {})

    def step(self, closure=None):
        raise RuntimeError("no step today")
"""


@pytest.fixture
def ports(tmp_path):
    (tmp_path / "ports.py").write_text(STEP)
    return f"{tmp_path}/ports.py"


@pytest.mark.parametrize("right", ["adamw", pytest.param("adam", marks=pytest.mark.proof)])
def test_a_right_port_is_the_same(ports, right):
    name = "Adam" if right == "adamw" else "Coupled"
    found = conform(right, f"{ports}:{name}")
    assert found.same, found.first
    assert len(found.compared) > 10
    assert all(not each.trouble for each in found.compared)


PLANTED = {
    "AfterTheStep": "its weight decay is decoupled and comes after the step",
    "MinusTwice": "opposite direction",
    "Inside": "its eps is inside the root",
    "Coupled": "B is A, but its weight decay is coupled",
    "Ignores": "its weight decay is ignored",
    "OverShards": "its rate is off by a constant: its steps are 0.625 times as long",
    "Still": "B never changes a parameter",
    "Ahead": "its bias correction counts one step ahead",
    "FirstMoment": "its bias correction of the first moment is missing",
    "Swapped": "its betas are swapped",
}
FEW = {"AfterTheStep"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param(*each, marks=() if each[0] in FEW else pytest.mark.proof)
        for each in PLANTED.items()
    ],
)
def test_a_planted_mistake_is_found_and_named(ports, name, said):
    found = conform("adamw:lr=0.01", f"{ports}:{name}")
    assert not found.same
    assert said in found.diagnosis, found
    assert found.left is None or found.left < 1e-6


@pytest.mark.proof
def test_a_difference_that_no_mistake_explains_is_said_to_be_none(ports):
    found = conform("adamw:lr=0.01", "rmsprop:lr=0.01")
    assert not found.same
    assert found.diagnosis == ""


NO_MOMENTUM = """
import torch

class SGD(torch.optim.SGD):
    def __init__(self, params, lr=1e-3, momentum=None):
        super().__init__(params, lr=lr, momentum=momentum or 0.0)
"""


def test_what_a_spec_sets_is_set_in_both_and_said(tmp_path):
    (tmp_path / "none.py").write_text(NO_MOMENTUM)
    other = resolve(f"{tmp_path}/none.py:SGD")
    given, notes = aligned(resolve("sgd:momentum=0.9"), other)
    assert given == {"lr": 0.001, "momentum": 0.9}
    assert notes == ["momentum is 0.9 in A and None in B; compared at 0.9"]
    given, _ = aligned(resolve("sgd"), other)
    assert given == {"lr": 0.001}  # None may mean something else than 0


def test_what_one_side_does_not_support_is_no_difference():
    found = conform("muon", "sgd", steps=3)
    said = {each.problem: each for each in found.compared if not each.options.get("weight_decay")}
    assert not said["quadratic"].differs
    assert said["quadratic"].trouble.startswith("not compared: A: UnsupportedError: ")
    assert said["matrices"].differs


def test_state_lost_at_a_round_trip_is_found(ports):
    assert against(f"{ports}:Adam", "state-dict", steps=20, only=["quadratic"]).same
    found = against(f"{ports}:Forgets", "state-dict", steps=20, only=["quadratic"])
    assert not found.same
    assert "state" in found.diagnosis
    assert found.first.first.step == 11


ODD = """
import torch

class Once(torch.optim.SGD):
    built = []

    def __init__(self, params, lr=0.1):
        if self.built:
            raise RuntimeError("it is built only once")
        self.built.append(True)
        super().__init__(params, lr=lr)

class FirstOnly(torch.optim.SGD):
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            if p.grad is not None:
                p.data.sub_(self.param_groups[0]["lr"] * p.grad)

class RoundsItsRate(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = float(torch.tensor(group["lr"], dtype=torch.float32))
        return super().step()

class OneNorm(torch.optim.Optimizer):
    '''Divides by the norm of a group's gradients; its second option does nothing.'''

    def __init__(self, params, lr=0.1, decoupled=True):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            there = [p for p in group["params"] if p.grad is not None]
            norm = sum(float(p.grad.square().sum()) for p in there) ** 0.5
            for p in there:
                p.sub_(group["lr"] * p.grad / norm)

class Single(torch.optim.Optimizer):
    scale = 1.0

    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    zeros = torch.zeros_like(p, dtype=torch.float32)
                    p.sub_(self.scale * group["lr"] * torch.lerp(zeros, p.grad, 0.9))

class Port(Single):
    pass

class Twice(Single):
    scale = 2.0
"""


@pytest.fixture
def odd(tmp_path):
    (tmp_path / "odd_ones.py").write_text(ODD)
    return f"{tmp_path}/odd_ones.py"


def test_mistakes_are_tried_on_the_form_in_which_an_optimizer_is_run(odd):
    """Run in one group, any change of nothing would explain that the others stay."""
    found = against(f"{odd}:FirstOnly:lr=0.1", "groups", only=("matrices",))
    assert not found.same
    assert found.diagnosis == "B never changes tall"


def test_a_class_that_cannot_be_built_twice_is_one_line(odd, capsys):
    assert main(["conform", "adam", f"{odd}:Once"]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "no problem ran: B alone raises RuntimeError: it is built only once" in line


def test_an_option_without_effect_explains_no_form(odd):
    found = against(f"{odd}:OneNorm", "groups", only=("matrices",))
    assert not found.same
    assert found.diagnosis == ""


def test_a_small_difference_is_not_explained_by_nothing(odd):
    """Rates that are off by 1e-8 make differences below what may be left of a large one."""
    found = conform("sgd:lr=0.1", "sgd:lr=0.100000001")
    assert found.first.first.relative < 1e-6
    assert "1.00000001 times as long" in found.diagnosis
    found = conform("sgd:lr=0.1", f"{odd}:RoundsItsRate:lr=0.1")  # by another factor in each group
    assert found.first.first.relative < 1e-6
    assert found.diagnosis == ""


def test_what_takes_float32_only_is_compared_in_float32(odd):
    found = conform(f"{odd}:Single", f"{odd}:Port")
    assert found.same
    assert any("compared in float32" in note for note in found.notes)
    assert not any(each.trouble for each in found.compared)
    assert not conform(f"{odd}:Single", f"{odd}:Twice").same
    assert against(f"{odd}:Single", "deepcopy", only=("matrices",)).same


def test_what_raises_on_both_sides_is_one_line(ports, capsys):
    with pytest.raises(NothingComparedError, match="no step today"):
        conform(f"{ports}:OtherArguments", f"{ports}:OtherArguments")
    code = main(["conform", f"{ports}:OtherArguments", f"{ports}:OtherArguments"])
    said = capsys.readouterr()
    assert code == 4
    assert len(said.err.splitlines()) == 1


PAIRS = [
    (name, form)
    for name in ("adam", "sgd:lr=0.01,momentum=0.9", "rmsprop")
    for form in FORMS
    if form not in {"compiled", "capturable"}
]
SHORT = {("adam", "foreach")}


@pytest.mark.parametrize("name", ["adam", "radam", "asgd"])
def test_steps_that_can_be_captured_equal_plain_ones(name, monkeypatch):
    """The CPU is used instead of an accelerator; torch can take capturable steps there too."""
    with pytest.raises(NotHereError, match="captured by an accelerator"):
        against(name, "capturable")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cpu"))
    for module in [m for known, m in sys.modules.items() if known.startswith("torch.optim.")]:
        if hasattr(module, "_get_capturable_supported_devices"):
            monkeypatch.setattr(
                module, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"]
            )
    found = against(name, "capturable", steps=20, only=["quadratic"])
    assert found.same, (found.first, found.diagnosis)


@pytest.mark.parametrize(
    ("name", "form"),
    [pytest.param(*p, marks=() if p in SHORT else pytest.mark.proof) for p in PAIRS],
)
def test_optimizers_of_torch_equal_themselves_in_other_forms(name, form):
    try:
        found = against(name, form)
    except NotHereError:
        return
    assert found.same, (found.first, found.diagnosis)


def test_the_command_prints_a_verdict_and_its_exit_code_is_the_result(ports, capsys):
    assert main(["conform", "adamw", f"{ports}:Adam", "--steps=20"]) == 0
    assert capsys.readouterr().out.startswith("same: adamw and ")
    assert main(["conform", "adamw", f"{ports}:Ignores", "--format=json", "--steps=20"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["diagnosis"].endswith("its weight decay is ignored")
    first = next(each for each in found["compared"] if each["differs"])
    assert first["options"] == {"weight_decay": 0.1}
    assert first["first"]["step"] == 1
    assert (
        main(["conform", "adam", "--against=foreach,deepcopy", "--steps=20", "--format=markdown"])
        == 0
    )
    assert "| quadratic" in capsys.readouterr().out


@pytest.mark.proof
@parametrize_with_conformance([("adamw", "adam:weight_decay=0.0"), ("sgd:lr=0.1", "sgd:lr=0.1")])
def test_equal_optimizers_pass_in_a_test_suite(conforms):
    conforms()


@pytest.mark.proof
def test_different_ones_fail_with_the_reason(ports):
    decorator = gradbench.check.parametrize_with_conformance([("adamw", f"{ports}:Ignores")])
    (call,) = decorator.args[1][0].values
    with pytest.raises(AssertionError, match="its weight decay is ignored"):
        call()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["adam"], "give a second optimizer, or --against"),
        (["adam", "sgd", "--against=foreach"], "give a second optimizer, or --against"),
        (["adam", "--against=forwards"], "forwards: choose from foreach, fused"),
        (["adam", "nadamm"], "unknown optimizer 'nadamm'"),
        (["adam", "adam", "--steps=0"], "--steps: at least 1"),
    ],
)
def test_a_mistake_of_the_user_is_one_line(words, said, capsys):
    assert main(["conform", *words]) == 4
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
