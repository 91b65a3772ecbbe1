"""What torch's tests hold for its own optimizers: each check fails on what silently breaks it."""

import contextlib
import runpy
import sys

import pytest
import torch

from gradbench.checks import optimizer
from gradbench.checks.contract import calls, every, memory, parameters, same_steps, state
from gradbench.checks.errors import CheckError, NotCheckedError
from gradbench.checks.options import NotTriedError, live_options
from gradbench.checks.reproduce import LAST, reproduction
from gradbench.optimizers.factory import resolve

BROKEN = """
import torch
from torch.optim import Optimizer

class Momentum(Optimizer):
    def __init__(self, params, lr=0.01, maximize=False):
        super().__init__(params, dict(lr=lr, maximize=maximize))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                self.one(group, p)
        return loss

    def one(self, group, p):
        if p.grad is None:
            return
        g = -p.grad if group["maximize"] else p.grad
        buffer = self.state[p].setdefault("m", torch.zeros_like(p))
        buffer.mul_(0.9).add_(g)
        p.sub_(group["lr"] * buffer)

class FirstGroup(Momentum):
    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            self.one(self.param_groups[0], p)

class ListsOnce(Momentum):
    def __init__(self, params, lr=0.01, maximize=False):
        super().__init__(params, lr, maximize)
        self.all = [(g, p) for g in self.param_groups for p in g["params"]]

    @torch.no_grad()
    def step(self, closure=None):
        for group, p in self.all:
            self.one(group, p)

class DecaysAll(Momentum):
    def one(self, group, p):
        p.mul_(0.999)
        super().one(group, p)

class KeepsGradients(Momentum):
    def zero_grad(self, set_to_none=True):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.zero_()

class NoGradients(Momentum):
    @torch.no_grad()
    def step(self, closure=None):
        loss = closure() if closure else None
        super().step()
        return loss

class NoClosure(Momentum):
    def step(self, closure=None):
        super().step()

class NoHooks(Momentum):
    def state_dict(self):
        return {"state": {}, "param_groups": []}

    def load_state_dict(self, state):
        pass

class RawState(Momentum):
    def load_state_dict(self, state):
        for p, s in zip(self.param_groups[0]["params"], state["state"].values()):
            self.state[p] = dict(s)

    def one(self, group, p):
        self.state[p].setdefault("m", torch.zeros_like(p))
        m = self.state[p]["m"].to(p)
        p.sub_(group["lr"] * m.add(p.grad))

class IgnoresMaximize(Momentum):
    def one(self, group, p):
        super().one({**group, "maximize": False}, p)

class ByOrder(Momentum):
    def one(self, group, p):
        self.last = getattr(self, "last", 0.0) * 0.5 + p.grad.mean().item()
        p.sub_(group["lr"] * (p.grad + self.last))

class Grows(Momentum):
    def one(self, group, p):
        self.state[p].setdefault("history", []).append(p.grad.clone())
        super().one(group, p)

class Leaks(Momentum):
    kept = []
    def one(self, group, p):
        Leaks.kept.append(p.grad.clone())
        super().one(group, p)

class LosesCopies(Momentum):
    def one(self, group, p):
        buffers = self.__dict__.setdefault("buffers", {})
        m = buffers.setdefault(id(p), torch.zeros_like(p))
        m.mul_(0.9).add_(p.grad)
        p.sub_(group["lr"] * m)

class RoundsItsRate(Momentum):
    def one(self, group, p):
        rate = group["lr"]
        super().one({**group, "lr": 0.0 if torch.is_tensor(rate) else rate}, p)

class Single(Momentum):  # its float32 momentum cannot be averaged with other numbers
    def one(self, group, p):
        if p.grad is not None:
            buffer = self.state[p].setdefault("m", torch.zeros_like(p, dtype=torch.float32))
            buffer.lerp_(-p.grad if group["maximize"] else p.grad, 0.1)
            p.sub_(group["lr"] * buffer)

class InSingle(Momentum):  # its momentum is float32 whatever the parameters are
    def one(self, group, p):
        state = self.state[p]
        buffer = state.get("momentum", torch.zeros_like(p)).float()
        state["momentum"] = buffer.mul_(0.9).add_(p.grad.float())
        p.sub_(group["lr"] * buffer)

class HiddenOnly(Momentum):
    gradbench_needs = {"groups": "hidden"}

    def one(self, group, p):
        super().one(group if group["hidden"] else {**group, "lr": 0.1 * group["lr"]}, p)

class Fails(Momentum):
    def one(self, group, p):
        raise ValueError("no step today")

class LoadsNothing(Momentum):
    def load_state_dict(self, state_dict):
        raise RuntimeError("it loads nothing")

class Noisy(Momentum):
    def one(self, group, p):
        super().one(group, p)
        p.add_(1e-6 * torch.randn_like(p))
"""

BREAKS = {
    "steps_groups_as_several_optimizers": "FirstGroup",
    "adds_a_group_later": "ListsOnce",
    "accepts_odd_parameters": "DecaysAll",
    "zeroes_gradients_both_ways": "KeepsGradients",
    "evaluates_a_closure": "NoGradients",
    "calls_hooks": "NoHooks",
    "loads_its_state_into_another_type": "RawState",
    "takes_its_rate_as_a_tensor": "RoundsItsRate",
    "goes_on_after_deepcopy": "LosesCopies",
    "goes_on_after_pickle": "LosesCopies",
    "maximizes": "IgnoresMaximize",
    "depends_on_no_order": "ByOrder",
    "keeps_its_memory": "Grows",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "contract_lab.py"
    path.write_text(BROKEN)
    return path


def check(name):
    return {each.__name__: each for each in every.CONTRACT}[name]


FEW = ("accepts_odd_parameters", "goes_on_after_deepcopy", "maximizes")


def some(names):
    """Return the names as parameters, all but a few for `make proof`."""
    return [pytest.param(name, marks=() if name in FEW else pytest.mark.proof) for name in names]


@pytest.mark.parametrize("name", some(BREAKS))
def test_a_check_fails_on_what_silently_breaks_it_and_holds_without(file, name):
    assert check(name)(f"{file}:Momentum")
    with pytest.raises(CheckError):
        check(name)(f"{file}:{BREAKS[name]}")


def test_going_on_elsewhere_fails_where_state_stays_behind(file, monkeypatch):
    """The CPU is used instead of an accelerator."""
    with pytest.raises(NotCheckedError, match="no accelerator here"):
        state.loads_its_state_on_another_device(f"{file}:Momentum")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cpu"))
    assert "and back" in state.loads_its_state_on_another_device(f"{file}:Momentum")
    with pytest.raises(CheckError, match=r"moved to cpu and back, its step 1\d differs by"):
        state.loads_its_state_on_another_device(f"{file}:LosesCopies")


def test_tensors_that_stay_alive_outside_of_the_state_are_counted(file, monkeypatch):
    monkeypatch.setattr(memory, "SECONDS", 1000.0)
    assert "no growth in 1000 steps" in memory.keeps_its_memory(f"{file}:Momentum")
    with pytest.raises(CheckError, match="tensors more are alive after 1000 steps"):
        memory.keeps_its_memory(f"{file}:Leaks")


def test_random_steps_are_said_and_not_held_against_their_order(file):
    for name in ("depends_on_no_global_seed", "depends_on_no_order"):
        with pytest.raises(NotCheckedError, match="draws random numbers"):
            check(name)(f"{file}:Noisy")


IN_SINGLE = (
    *("adds_a_group_later", "calls_hooks", "depends_on_no_order", "evaluates_a_closure"),
    *("goes_on_after_deepcopy", "goes_on_after_pickle", "keeps_its_memory", "maximizes"),
    *("steps_groups_as_several_optimizers", "takes_its_rate_as_a_tensor"),
)


def test_what_takes_float32_only_is_checked_in_float32(file):
    for name in IN_SINGLE:
        assert check(name)(f"{file}:Single")
    with pytest.raises(NotCheckedError, match="it takes float32 only"):
        state.loads_its_state_into_another_type(f"{file}:Single")


def test_state_that_is_in_float32_by_design_is_no_loss(file):
    assert "and back" in state.loads_its_state_into_another_type(f"{file}:InSingle")
    with pytest.raises(CheckError, match=r"after loading into torch.float32: m: torch.float64"):
        state.loads_its_state_into_another_type(f"{file}:RawState")


def test_an_error_is_loud_and_stands_once(file):
    with pytest.raises(NotCheckedError, match="refused: RuntimeError: it loads nothing"):
        state.loads_its_state_into_another_type(f"{file}:LoadsNothing")
    found = {name: (holds, said) for name, holds, said in optimizer.run_checks(f"{file}:Fails")}
    assert [name for name, (holds, _) in found.items() if holds is False] == ["supports a network"]
    assert "ValueError: no step today" in found["supports a network"][1]
    assert found["resumes"] == (None, "the error of 'supports a network'")


def test_a_slow_optimizer_is_watched_for_fewer_steps(file, monkeypatch):
    monkeypatch.setattr(memory, "SECONDS", 0.0)
    assert "no growth in 200 steps" in memory.keeps_its_memory(f"{file}:Momentum")
    with pytest.raises(CheckError, match="tensors more are alive after 200 steps"):
        memory.keeps_its_memory(f"{file}:Leaks")


def test_groups_that_are_made_by_the_order_are_not_held_against_it(file):
    with pytest.raises(NotCheckedError, match="made by the order of the parameters"):
        same_steps.depends_on_no_order(f"{file}:HiddenOnly")


def test_a_closure_that_is_never_called_is_said_and_does_not_fail(file):
    with pytest.raises(NotCheckedError, match="does not call the closure"):
        calls.evaluates_a_closure(f"{file}:NoClosure")


def test_what_refuses_loudly_does_not_fail():
    with pytest.raises(NotCheckedError, match="refused: AssertionError"):
        parameters.adds_a_group_later("lbfgs")


@pytest.mark.proof
@pytest.mark.parametrize("spec", ["adam", "rprop", "sgd:momentum=0.9", "adagrad"])
def test_optimizers_of_torch_hold_their_contract(spec):
    found = dict.fromkeys(every.CONTRACT, "")
    for each in every.CONTRACT:
        try:
            each(spec)
        except NotCheckedError as error:
            found[each] = str(error)
    assert {said for said in found.values() if said} == {"no accelerator here"}


def test_options_are_live_dead_or_need_another(tmp_path):
    (tmp_path / "odd_options.py").write_text(
        """if True:
        import torch

        class Odd(torch.optim.SGD):
            def __init__(self, params, lr=0.1, momentum=0.0, nesterov=False, rho=0.5, name=None,
                         level=1):
                if level > 1:
                    raise ValueError("level is 1")
                super().__init__(params, lr=lr, momentum=momentum,
                                 nesterov=nesterov and momentum > 0)
        """
    )
    found = live_options(resolve(f"{tmp_path}/odd_options.py:Odd"))
    assert found.live == ["momentum"]
    assert found.needs == {"nesterov": "momentum=0.3"}
    assert found.dead == ["rho"]
    assert found.untried == ["name"]
    assert "level is 1" in found.raises["level"]


def test_an_option_is_named_beside_which_another_of_its_words_works(tmp_path):
    (tmp_path / "words.py").write_text(
        """if True:
        import torch

        class Words(torch.optim.SGD):
            def __init__(self, params, lr=0.1, momentum=0.0, weight_decay=0.0, decay_power=1.0):
                if momentum or weight_decay:  # lives beside either
                    weight_decay *= decay_power
                    momentum *= decay_power
                super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)
        """
    )
    found = live_options(resolve(f"{tmp_path}/words.py:Words"))
    assert found.needs == {"decay_power": "weight_decay=0.3"}


def test_what_diverges_has_no_live_options_by_its_not_a_numbers():
    """At such a rate every path ends in NaN, which equals nothing."""
    found = live_options(resolve("sgd:lr=1000.0"))
    assert found.needs == {"dampening": "momentum=0.3", "nesterov": "momentum=0.3"}
    with pytest.raises(NotCheckedError, match="it diverges: not finite after 10 steps"):
        optimizer.resumes("sgd:lr=1000.0")


def test_options_of_an_optimizer_of_one_type_are_tried_in_that_type(tmp_path):
    (tmp_path / "single.py").write_text(
        """if True:
        import torch

        class Single(torch.optim.SGD):
            def step(self, closure=None):
                if any(p.dtype != torch.float32 for p in self.param_groups[0]["params"]):
                    raise RuntimeError("float32 only")
                return super().step(closure)
        """
    )
    found = live_options(resolve(f"{tmp_path}/single.py:Single:lr=0.1"))
    assert "momentum" in found.live
    assert found.dead == []


def test_options_of_what_never_moves_are_not_called_dead(tmp_path):
    (tmp_path / "still.py").write_text(
        """if True:
        import torch

        class Still(torch.optim.SGD):
            def step(self, closure=None):
                pass
        """
    )
    with pytest.raises(NotTriedError, match="moves no parameter"):
        live_options(resolve(f"{tmp_path}/still.py:Still:lr=0.1"))
    with pytest.raises(NotCheckedError, match="not tried: it moves no parameter"):
        optimizer.options_matter(f"{tmp_path}/still.py:Still:lr=0.1")


COMPILED = """
import torch

CALLS = []

def backend(graph, inputs):
    CALLS.append(1)
    return graph.forward

@torch.compile(backend=backend)
def move(p, g, lr, decay):
    return p - lr * (g + decay * p)

class Compiled(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.copy_(move(p, p.grad, group["lr"], group["weight_decay"]))
"""


def test_options_are_tried_without_compiling_and_within_their_time(tmp_path, monkeypatch):
    (tmp_path / "compiled.py").write_text(COMPILED)
    factory = resolve(f"{tmp_path}/compiled.py:Compiled")  # building it compiles
    calls = sys.modules[factory.cls.__module__].CALLS
    before = len(calls)
    found = live_options(factory)
    assert found.live == ["weight_decay"]
    assert len(calls) == before
    late = live_options(factory, seconds=-1.0)
    assert (late.live, late.late) == ([], ["weight_decay"])
    assert "not tried for lack of time: weight_decay" in late.said()


def test_maximize_is_no_dead_option():
    assert "maximize" in live_options(resolve("sgd")).live


@pytest.mark.parametrize("name", some([*LAST, "counts_evaluations"]))
def test_five_lines_show_a_check_without_gradbench(file, name, tmp_path):
    lines = reproduction(resolve(f"{file}:Momentum"), name)
    assert len(lines) == 5
    assert "gradbench" not in "\n".join(lines)
    (tmp_path / "shows.py").write_text("\n".join(lines))
    with torch.random.fork_rng():
        runpy.run_path(str(tmp_path / "shows.py"))


LOOPS = """
import torch

class Asks(torch.optim.SGD):
    def step(self, closure):
        with torch.enable_grad():
            loss = closure()
        super().step()
        return loss

class AsksByName(torch.optim.SGD):
    def step(self, *, closure):
        with torch.enable_grad():
            closure()
        return super().step()

class TakesLoss(torch.optim.SGD):
    def step(self, loss):
        float(loss)
        return super().step()

class OfNetwork(torch.optim.SGD):
    def __init__(self, model, lr=0.1):
        super().__init__(model.parameters(), lr=lr)

class IgnoresItsRate(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=0.05)

class Draws(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
    def step(self, closure=None):
        import random
        for group in self.param_groups:
            group["lr"] = 0.1 * random.random()
        return super().step(closure)

class Remembers(torch.optim.SGD):
    times = [0]
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
    def step(self, closure=None):
        self.times[0] += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.times[0]
        return super().step(closure)
"""


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "loops_lab.py"
    path.write_text(LOOPS)
    return path


@pytest.mark.proof
@pytest.mark.parametrize("name", ["Asks", "AsksByName", "TakesLoss"])
def test_the_lines_step_as_the_optimizer_wants_it(loops, name, tmp_path):
    asked = {*LAST, "counts_evaluations"} - (
        {"evaluates_a_closure"} if name == "TakesLoss" else set()
    )
    for check in asked:
        lines = reproduction(resolve(f"{loops}:{name}"), check)
        (tmp_path / "shows.py").write_text("\n".join(lines))
        with torch.random.fork_rng(), contextlib.suppress(AssertionError):
            runpy.run_path(str(tmp_path / "shows.py"))


def test_what_is_not_built_from_parameters_has_no_lines(loops):
    assert reproduction(resolve(f"{loops}:OfNetwork"), "repeats") == []


def test_a_rate_that_changes_nothing_fails(loops):
    with pytest.raises(CheckError, match="lr, its learning rate, changes none of its steps"):
        optimizer.options_matter(f"{loops}:IgnoresItsRate")
    assert "change its steps" in optimizer.options_matter(f"{loops}:Asks")


def test_what_does_not_repeat_is_not_called_by_another_name(loops):
    """Draws from Python's generator, and a memory that outlives its runs."""
    with pytest.raises(NotCheckedError, match="depend on a global seed: it draws random numbers"):
        same_steps.depends_on_no_global_seed(f"{loops}:Draws")
    with pytest.raises(NotCheckedError, match="two runs differ under equal seeds, too"):
        same_steps.depends_on_no_global_seed(f"{loops}:Remembers")
    with pytest.raises(CheckError, match="two runs of one trial differ"):
        optimizer.repeats(f"{loops}:Remembers")
    with pytest.raises(NotCheckedError, match="two runs differ without a round trip, too"):
        optimizer.resumes(f"{loops}:Remembers")
