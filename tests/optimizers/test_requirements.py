"""What optimizers ask of the training loop: found, and given as a hand-written loop gives it."""

import random

import numpy as np
import pytest
import torch

from gradbench import Trial, run_trial
from gradbench.cli import main
from gradbench.optimizers import third_party
from gradbench.optimizers.factory import names, resolve
from gradbench.optimizers.requirements import Requirements, grouped
from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.saturation import Saturation
from gradbench.spec import SpecError
from gradbench.training.batches import Batches
from gradbench.training.loop import Training
from gradbench.training.random_streams import isolated
from gradbench.training.state import TrialState

BASE = """
import torch

class Plain(torch.optim.SGD):
    pass

class Model(torch.optim.SGD):
    def __init__(self, model, lr=0.1):
        super().__init__(list(model.parameters()), lr=lr)

class Counted(torch.optim.SGD):
    def __init__(self, params, num_iterations, num_data, lr=0.1):
        self.asked = num_iterations, num_data
        super().__init__(params, lr=lr)

class Groups(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        if any("use_muon" not in group for group in params):
            raise ValueError("tell me which are matrices")
        super().__init__(params, lr=lr)

class Matrices(torch.optim.SGD):
    def step(self, closure=None):
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("only 2D")
        return super().step()

class Twice(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                torch.autograd.grad(p.grad.square().sum(), p, retain_graph=True)
        return super().step()

class Asks(torch.optim.SGD):
    def step(self, closure=None):
        if closure is None:
            raise RuntimeError("Asks requires closure")
        with torch.enable_grad():
            closure()
        return super().step()

class Sharp(torch.optim.SGD):
    "Climbs along the gradient that is there, then steps by the closure's."
    def step(self, closure):
        kept = [p.detach().clone() for g in self.param_groups for p in g["params"]]
        every = [p for g in self.param_groups for p in g["params"]]
        with torch.no_grad():
            for p in every:
                if p.grad is not None:
                    p.add_(p.grad, alpha=0.05)
        closure()
        with torch.no_grad():
            for p, old in zip(every, kept):
                p.copy_(old)
        return super().step()

class Modes(torch.optim.SGD):
    said = []
    def train(self):
        self.said.append("train")
    def eval(self):
        self.said.append("eval")

class Fused(torch.optim.SGD):
    def fused_backward(self, loss, lr):
        loss.backward()
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None
    def step(self, closure=None):
        raise NotImplementedError

class Refuses(torch.optim.SGD):
    def step(self, closure=None):
        loss = closure() if closure else None
        if any(p.grad is not None for group in self.param_groups for p in group["params"]):
            raise AssertionError("not on this device")
        return loss

class Itself(torch.optim.SGD):
    def step(self, closure):
        self.zero_grad()
        with torch.enable_grad():
            closure().backward()
        return super().step()

class Late(Itself):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=0.0)

class Polyak(torch.optim.SGD):
    "Its rate is the loss over the gradient's square."
    @torch.no_grad()
    def step(self, loss):
        every = [p for group in self.param_groups for p in group["params"]]
        rate = float(loss) / sum(float(p.grad.square().sum()) for p in every)
        for p in every:
            p.sub_(p.grad, alpha=min(rate, 0.5))

class PolyakByName(Polyak):
    def step(self, *, current_loss):
        if any(p.grad is None for group in self.param_groups for p in group["params"]):
            return
        super().step(current_loss)

class FromLoss(torch.optim.SGD):
    def step(self, loss):
        loss.backward()
        super().step()

class Says(torch.optim.SGD):
    gradbench_needs = {"closure": True, "gradients_first": True}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "needy.py"
    path.write_text(BASE)
    return path


@pytest.mark.parametrize(
    ("name", "requirements"),
    [
        ("Plain", Requirements()),
        ("Model", Requirements(model=True)),
        ("Counted", Requirements(steps="num_iterations", examples="num_data")),
        ("Groups", Requirements(groups="use_muon")),
        ("Matrices", Requirements(matrices=True)),
        ("Twice", Requirements(create_graph=True)),
        ("Asks", Requirements(closure=True)),
        ("Sharp", Requirements(closure=True, gradients_first=True)),
        ("Modes", Requirements(modes=True)),
        ("Fused", Requirements(fused=True)),
        ("Says", Requirements(closure=True, gradients_first=True)),
        ("Refuses", Requirements()),
        ("Itself", Requirements(closure=True, forward_closure=True)),
        ("Polyak", Requirements(closure=True, loss_value=True)),
        (
            "PolyakByName",
            Requirements(closure=True, closure_name="current_loss", loss_value=True),
        ),
        ("FromLoss", Requirements(closure=True, loss_value=True, forward_closure=True)),
        ("Late", Requirements(closure=True, forward_closure=True)),
    ],
)
def test_needs_are_seen(file, name, requirements):
    state = torch.random.get_rng_state()
    assert resolve(f"{file}:{name}").requirements == requirements
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", ["Polyak", "PolyakByName", "FromLoss"])
def test_a_step_that_takes_the_loss_trains_as_its_authors_loop(file, name):
    """A trial's parameters after ten steps, and those of a loop that gives `step` the loss."""
    spec = f"{file}:{name}"
    problem = {"scenario": Parity(d=5, weight=2), "budget": 10, "batch": 16}
    trial = Trial(optimizer=spec, hyperparameters={"lr": 0.1}, **problem)
    training = Training(trial, TrialResult(0, Status.UNSOLVED))
    apart = TrialState(trial, TrialResult(0, Status.UNSOLVED))
    optimizer = resolve(spec).cls(apart.network.parameters(), lr=0.1)
    for inputs, labels in Batches(trial, apart.target).take(10):
        optimizer.zero_grad()
        loss = trial.scenario.loss(apart.network(inputs), labels).mean()
        if name == "FromLoss":
            optimizer.step(loss)
            continue
        loss.backward()
        optimizer.step(current_loss=loss) if name == "PolyakByName" else optimizer.step(loss)
    training.advance(10)
    assert training.result.gradient_evaluations == 10
    for mine, theirs in zip(training.parameters, apart.parameters, strict=True):
        assert torch.equal(mine, theirs)


def states():
    return repr((torch.random.get_rng_state().tolist(), random.getstate(), np.random.get_state()))


def test_to_see_them_draws_nothing(odd):
    resolve.cache_clear()
    before = states()
    assert resolve(f"{odd}:Noisy").requirements == Requirements()
    assert states() == before


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_they_are_those_of_float32_whatever_a_trial_has_set(dtype):
    resolve.cache_clear()
    with isolated(trial("lbfgs", dtype=dtype)):
        assert resolve("lbfgs").requirements == Requirements(closure=True)
        assert torch.get_default_dtype() == getattr(torch, dtype)


def trial(spec, **changes):
    standard = {"scenario": Saturation(depth=1), "budget": 40, "batch": 16, "target_score": 2.0}
    return Trial(optimizer=spec, **(standard | changes))


def test_what_refuses_gradients_has_crashed_and_says_why(file):
    """Called without gradients it would do nothing, which is not its author's loop."""
    found = run_trial(trial(f"{file}:Refuses:lr=0.1"))
    assert found.status == "crashed"
    assert "not on this device" in found.reason


SAME = ("Model", "Counted", "Groups", "Twice", "Asks", "Fused", "Modes", "Itself")


@pytest.mark.parametrize("name", SAME)
def test_what_needs_something_trains_as_plain_does(file, name):
    plain = run_trial(trial(f"{file}:Plain:lr=0.1"))
    needy = run_trial(trial(f"{file}:{name}:lr=0.1"))
    assert needy.status == "unsolved"
    assert needy.curve == plain.curve
    assert needy.gradient_evaluations == 40


def test_gradients_that_come_first_are_counted_and_fresh(file):
    """Against a loop by hand, which climbs by this batch's gradient and not by the last one's."""
    found = run_trial(trial(f"{file}:Sharp:lr=0.1"))
    assert found.gradient_evaluations == 40
    assert found.curve[-1][0] == 40
    climbed = run_trial(trial(f"{file}:Sharp:lr=0.1", batch=8)).curve
    plain = run_trial(trial(f"{file}:Plain:lr=0.1", batch=8, budget=20)).curve
    assert climbed[-1][2] != plain[-1][2]
    by_hand = _sharp_by_hand()
    assert found.curve[-1][2] == pytest.approx(by_hand, rel=1e-6)


def _sharp_by_hand():
    from gradbench.training.batches import Batches
    from gradbench.training.random_streams import draws

    asked = trial("sgd")
    scenario = asked.scenario
    target = scenario.draw_target(draws(asked, "target"))
    examples = scenario.held_out(target, draws(asked, "evaluation"))
    batches = Batches(asked, target)
    network = scenario.network(draws(asked, "initialisation"))
    parameters = list(network.parameters())

    def gradients(x, y):
        loss = scenario.loss(network(x), y).mean()
        return torch.autograd.grad(loss, parameters)

    taken = 0
    while taken < 20:
        for x, y in batches.take(20 - taken):
            taken += 1
            old = [p.detach().clone() for p in parameters]
            up = gradients(x, y)
            with torch.no_grad():
                for p, g in zip(parameters, up, strict=True):
                    p.add_(g, alpha=0.05)
            down = gradients(x, y)
            with torch.no_grad():
                for p, o, g in zip(parameters, old, down, strict=True):
                    p.copy_(o).sub_(g, alpha=0.1)
    return scenario.evaluate(network, examples)[1]


def test_modes_are_told_around_training_and_looks(file):
    factory = resolve(f"{file}:Modes:lr=0.1")
    assert factory.requirements.modes  # found by steps on a toy, which tell modes too
    cls = factory.cls
    cls.said.clear()
    run_trial(trial(f"{file}:Modes:lr=0.1", budget=2))
    assert cls.said == ["train", "eval", "train", "eval"]


def test_what_steps_on_matrices_alone_is_unsupported_elsewhere(file):
    result = run_trial(trial(f"{file}:Matrices"))
    assert (result.status, "matrices only" in result.reason) == ("unsupported", True)


def test_the_last_of_several_matrices_and_the_biases_are_the_rest():
    network = torch.nn.Sequential(*[torch.nn.Linear(3, 3) for _ in range(3)])
    hidden, rest = grouped(network.parameters(), "use_muon")
    assert (hidden["use_muon"], rest["use_muon"]) == (True, False)
    assert [p.ndim for p in hidden["params"]] == [2, 2]
    assert [p.ndim for p in rest["params"]] == [1, 1, 2, 1]
    (alone,) = grouped([torch.nn.Parameter(torch.ones(2, 2))], "use_muon")
    assert alone["use_muon"]


# The collection; each of its members is tried in test_collection


def test_a_bare_name_is_torchs_before_it_is_the_collections():
    assert resolve("adam").cls is torch.optim.Adam
    assert resolve("adamp").cls.__name__ == "AdamP"
    assert "adamp" in third_party.names()
    with pytest.raises(SpecError, match="did you mean"):
        resolve("adampp")


@pytest.fixture
def broken_collection(tmp_path, monkeypatch):
    """A collection that is installed, but imports what is not."""
    (tmp_path / "needs_more.py").write_text("import a_module_that_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(third_party, "COLLECTION", "needs_more")
    third_party._collection.cache_clear()
    yield
    third_party._collection.cache_clear()


def test_a_collection_that_cannot_be_imported_takes_nothing_else_along(broken_collection, capsys):
    why = "needs_more cannot be imported: ModuleNotFoundError: No module named 'a_module_that"
    with pytest.raises(SpecError, match=r"unknown optimizer 'adapm'; did you mean .*adam") as error:
        resolve("adapm")
    assert why in str(error.value)
    assert "adam" in names()
    assert "adamp" not in names()
    assert main(["list"]) == 0
    said = capsys.readouterr()
    assert why in said.err
    assert "adamw" in said.out
