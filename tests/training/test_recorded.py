"""Recorded steps, on a stand-in for an accelerator's graph that works on the CPU."""

import contextlib
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import run_item
from gradbench.results.record import Expectation
from gradbench.scenarios.curves import Curves
from gradbench.scenarios.line_tuples import LineTuples
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.saturation import Saturation
from gradbench.scenarios.steps import Steps
from gradbench.training import graph_capture, recorded, runner
from gradbench.training.runner import run
from gradbench.training.stack import loop, policy
from gradbench.training.stack import recorded as stack_recorded
from gradbench.training.trial import Trial

RATES = (0.1, 0.01, 0.001)
NETWORKS = {
    "parity": Parity(d=5, weight=2),
    "filter": Curves(approach="convolution", n=12),
    "sigmoids": Saturation(depth=3),
    "multi-class": Steps(approach="multi-class", n=6),
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

    def side_by_side(self, calls):
        for call in calls:
            call()

    def release(self):
        self.log, self.step = [], None


class Keeps(torch.optim.Optimizer):
    """A stranger's: heavy-ball, with the last gradient kept as the tensor that it was."""

    def __init__(self, params, lr=0.05):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                before = self.state[p].get("before", torch.zeros_like(p))
                p.sub_(group["lr"] * (p.grad + 0.5 * before))
                self.state[p]["before"] = p.grad


class Replaces(Keeps):
    """Puts a new tensor into the parameter's place at every step."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p.data - group["lr"] * p.grad


class Freezes(Keeps):
    """Stops training the first parameter after ten steps."""

    def step(self, closure=None):
        first = self.param_groups[0]["params"][0]
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 10:
            first.requires_grad_(requires_grad=False)
        for p in self.param_groups[0]["params"]:
            if p.grad is not None:
                p.data.sub_(p.grad, alpha=0.05)


class Adds(Keeps):
    """Never zeroes a gradient: momentum without a buffer."""

    def zero_grad(self, set_to_none=True):  # noqa: FBT002
        pass


class Hooks(Keeps):
    """Scales gradients by a hook."""

    def __init__(self, params, lr=0.05):
        super().__init__(params, lr)
        for p in self.param_groups[0]["params"]:
            p.register_post_accumulate_grad_hook(self.halve)

    def halve(self, p):
        p.grad.mul_(0.5)


class HooksLate(Keeps):
    """Registers a hook after ten steps."""

    def step(self, closure=None):
        super().step()
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 10:
            self.param_groups[0]["params"][0].register_hook(lambda g: g / 2)


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


def near(results, others):
    """Compare curves within rounding: an evaluation in one pass sums in another order."""
    for one, other in zip(results, others, strict=True):
        assert [e[0] for e in one.curve] == [e[0] for e in other.curve]
        torch.testing.assert_close(
            torch.tensor(one.curve, dtype=torch.float64),
            torch.tensor(other.curve, dtype=torch.float64),
            rtol=1e-4,
            atol=1e-5,
            equal_nan=True,
        )


@pytest.fixture
def stand_in(monkeypatch):
    """Have the CPU work as an accelerator that records graphs; torch's Adam refuses there."""
    for module in (recorded, stack_recorded):
        monkeypatch.setattr(module, "Graph", Recorder)
        monkeypatch.setattr(module, "can_capture", lambda o: type(o) is torch.optim.SGD)
    for module in (runner, loop):
        monkeypatch.setattr(module, "accelerated", lambda _: True)


def test_without_an_accelerator_nothing_is_recorded():
    assert {result.path for result in run(trials(NETWORKS["parity"], "adam"))} == {"stacked"}


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd:momentum=0.9,lr=0.1",
        "adam",
        *(pytest.param(each, marks=pytest.mark.proof) for each in ("adagrad", "adam+cosine")),
    ],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_stacks_replayed_steps_are_steps(name, optimizer, stand_in, monkeypatch):
    """One of the trials diverges on the way, and keeps its place."""
    chosen = trials(NETWORKS[name], optimizer, 4)
    chosen.append(replace(chosen[3], hyperparameters={"lr": 1e30}))
    found = run(chosen)
    assert {(result.path, result.fallback) for result in found} == {("stacked, recorded", "")}
    monkeypatch.undo()
    plain = run(chosen)
    near(found[:4], plain[:4])
    assert found[4].status == plain[4].status


def test_padding_of_a_row_decides_nothing(stand_in, monkeypatch):
    """Without eps a step along gradients of zero is no number, and what fills a row has these."""
    chosen = trials(NETWORKS["sigmoids"], "adam:eps=0.0")
    found = run(chosen)
    assert {result.path for result in found} == {"stacked, recorded"}
    monkeypatch.undo()
    near(found, run(chosen))
    assert {result.status.value for result in found} == {"unsolved"}


def test_where_memory_runs_out_smaller_stacks_train(stand_in, monkeypatch):
    whole = runner._run_part

    def small_only(chosen, *, recorded):
        if len(chosen) > 2:
            raise torch.OutOfMemoryError("no memory")
        return whole(chosen, recorded=recorded)

    monkeypatch.setattr(runner, "_run_part", small_only)
    monkeypatch.setattr(torch, "get_device_module", lambda _: SimpleNamespace(empty_cache=list))
    found = run(trials(NETWORKS["parity"], "sgd", 5))
    assert {result.path for result in found} == {"stacked, recorded"}
    assert {r.fallback for r in found} == {"at most 2 trials at once: the device ran out of memory"}


def test_a_hook_that_comes_late_ends_the_recording(stand_in):
    found = run(trials(NETWORKS["parity"], f"{__file__}:HooksLate"))
    assert {result.path for result in found} == {"alone"}
    assert all("hooks parameters" in result.fallback for result in found)


def test_a_stack_of_one_seed_shares_its_batch(stand_in, monkeypatch):
    chosen = [
        replace(trials(NETWORKS["parity"], "sgd")[0], hyperparameters={"lr": r}) for r in RATES
    ]
    found = run(chosen)
    assert {(result.path, result.fallback) for result in found} == {("stacked, recorded", "")}
    monkeypatch.undo()
    near(found, run(chosen))


def test_a_trial_of_a_recorded_stack_has_its_numbers_wherever_it_stands(stand_in):
    chosen = trials(NETWORKS["parity"], "adam", 5)
    assert curves(run(chosen)[1:2]) == curves(run(chosen[::-1])[3:4])


@pytest.mark.parametrize(
    "optimizer",
    [
        "adam",
        *(
            pytest.param(each, marks=pytest.mark.proof)
            for each in ("sgd:momentum=0.9,lr=0.1", "adagrad", "adam+cosine")
        ),
    ],
)
def test_a_single_trials_replayed_steps_are_steps(optimizer, stand_in, monkeypatch):
    """A convolution trains one trial at a time."""
    chosen = trials(LineTuples(k=1, n1="convolution"), optimizer, 1, preset="quick")
    chosen = [replace(trial, budget=8) for trial in chosen]
    found = run(chosen)
    assert {(result.path, result.fallback) for result in found} == {("recorded", "")}
    monkeypatch.undo()
    near(found, run(chosen))


@pytest.mark.parametrize("name", ["Keeps"])
def test_a_strangers_step_is_taken_as_it_is(name, stand_in, monkeypatch):
    chosen = trials(NETWORKS["parity"], f"{__file__}:{name}")
    found = run(chosen)
    assert {(result.path, result.fallback) for result in found} == {("recorded", "")}
    monkeypatch.undo()
    assert curves(found) == curves(run(chosen))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Replaces", "replaces, freezes or hooks parameters"),
        ("Freezes", "replaces, freezes or hooks parameters"),
        ("Adds", "has a zero_grad of its own"),
        ("Hooks", "registers hooks on parameters"),
    ],
)
def test_what_a_replay_would_leave_out_is_not_recorded(name, why, stand_in, monkeypatch):
    chosen = trials(NETWORKS["parity"], f"{__file__}:{name}")
    found = run(chosen)
    assert {result.path for result in found} == {"alone"}
    assert all(why in result.fallback for result in found), found[0].fallback
    monkeypatch.undo()
    assert curves(found) == curves(run(chosen))


CAPTURABLE = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adadelta", "RMSprop", "Rprop", "ASGD")


@pytest.mark.parametrize("name", CAPTURABLE)
def test_a_capturable_step_is_as_exact_as_a_plain_one(name, monkeypatch):
    """Against the plain step in float64, after a first step that made the state."""
    for module in [m for name, m in sys.modules.items() if name.startswith("torch.optim.")]:
        if hasattr(module, "_get_capturable_supported_devices"):
            monkeypatch.setattr(
                module, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"]
            )

    def trained(dtype, *, capturable):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 50, dtype=dtype))
        optimizer = getattr(torch.optim, name)([p], lr=0.01, foreach=True)
        assert graph_capture.can_capture(optimizer)
        for step in range(50):
            p.grad = (torch.linspace(1, 2, 50, dtype=dtype) * (step + 1)).sin()
            optimizer.step()
            if capturable and step == 0:
                graph_capture.make_capturable(optimizer)
        return p.detach().double()

    exact = trained(torch.float64, capturable=False)
    plain, captured = (
        (trained(torch.float32, capturable=c) - exact).norm() / exact.norm() for c in (False, True)
    )
    assert captured <= max(2 * plain, 3e-7), (captured, plain)


def test_sgd_with_momentum_and_no_state_can_be_captured():
    p = torch.nn.Parameter(torch.zeros(2))
    assert graph_capture.can_capture(torch.optim.SGD([p], lr=0.1, momentum=0.9))
    assert not graph_capture.can_capture(torch.optim.Adagrad([p], lr=0.1))
    hooked = torch.optim.SGD([p], lr=0.1)
    hooked.register_step_pre_hook(lambda *_: None)
    assert not graph_capture.can_capture(hooked)


@pytest.mark.proof
def test_a_convolution_trains_in_a_recorded_stack_to_the_numbers_it_has_alone(
    stand_in, monkeypatch
):
    chosen = [
        replace(trial, budget=2)
        for trial in trials(LineTuples(k=1, n1="convolution"), "sgd:lr=0.01", 2)
    ]
    monkeypatch.setattr(policy, "pays", lambda *_: True)
    found = run(chosen)
    assert {(result.path, result.fallback) for result in found} == {("stacked, recorded", "")}
    monkeypatch.undo()
    near(found, run(chosen, stack="off"))


def test_a_learner_takes_its_own_steps_and_says_so(stand_in):
    (found,) = run([replace(trials(Steps(approach="glmtron", n=6), None, 1)[0])])
    assert (found.path, found.status.value) == ("alone", "unsolved")


def test_the_time_of_a_recorded_step_stands_beside_the_plain_ones(stand_in):
    case = Case(
        id="a",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 5, "weight": 2},
        budget=60,
        batch=16,
        expectation=Expectation.MAY,
    )
    item = Item(case=case, optimizer="adam", seeds=2, tuning=2, device="cpu")
    record, _ = run_item(item)
    assert record.path == "stacked, recorded"
    assert record.timing["seconds_per_step"]["median"] > 0
    assert record.timing["recorded_seconds_per_step"]["median"] > 0
    record, _ = run_item(replace(item, stack="off"))
    assert "recorded_seconds_per_step" not in record.timing


class Streams:
    """Stands in for a device's module: notes on which stream calls are made, and what waits."""

    def __init__(self):
        self.log, self.here = [], "main"

    def current_stream(self, _):
        return SimpleNamespace(wait_stream=lambda s: self.log.append(f"main waits for {s.name}"))

    def Stream(self, _):  # noqa: N802  # torch's name
        name = f"s{len([each for each in self.log if each == 'made'])}"
        self.log.append("made")
        waits = lambda _: self.log.append(f"{name} waits for main")  # noqa: E731
        return SimpleNamespace(name=name, wait_stream=waits)

    @contextlib.contextmanager
    def stream(self, stream):
        self.here = stream.name
        yield
        self.here = "main"


def test_calls_side_by_side_start_after_the_stream_and_are_waited_for(monkeypatch):
    module, graph = Streams(), object.__new__(graph_capture.Graph)
    graph.module, graph.device = module, torch.device("cpu")
    monkeypatch.setattr(graph_capture, "BRANCHES", 2)
    monkeypatch.setattr(torch, "get_device_module", lambda _: module)
    graph_capture._branches.cache_clear()
    graph.side_by_side([lambda n=n: module.log.append((n, module.here)) for n in range(3)])
    graph_capture._branches.cache_clear()
    calls = [each for each in module.log if isinstance(each, tuple)]
    assert calls == [(0, "s0"), (1, "s1"), (2, "s0")]
    first, last = module.log.index(calls[0]), module.log.index(calls[-1])
    assert module.log[first - 2 : first] == ["s0 waits for main", "s1 waits for main"]
    assert module.log[last + 1 :] == ["main waits for s0", "main waits for s1"]
    module.log.clear()
    graph.side_by_side([lambda: module.log.append("alone")])
    assert module.log == ["alone"]
