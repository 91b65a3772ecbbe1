"""Ways in which published optimizers are built and stepped: each trains as its plain loop does."""

import pytest

from gradbench import Trial, run_trial
from gradbench.optimizers.factory import resolve
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import run_item
from gradbench.results.record import Expectation
from gradbench.scenarios.saturation import Saturation
from gradbench.spec import SpecError

BASE = """
import torch
from torch.optim import SGD

class Plain(SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)

class Named(Plain):
    def __init__(self, named_parameters, lr=0.1):
        every = list(named_parameters)
        self.names = [name for name, _ in every]
        super().__init__([p for _, p in every], lr)

class Pairs(Plain):
    "Says nothing of names in its signature."
    def __init__(self, params, lr=0.1):
        super().__init__([p for name, p in params if name.endswith(("weight", "bias"))], lr)

class Lists(Plain):
    def __init__(self, lr=0.1, decay=0.0, matrix_params=None, scalar_params=None):
        assert all(p.ndim == 2 for p in matrix_params)
        super().__init__([*matrix_params, *scalar_params], lr)

class Reversed(Plain):
    def __init__(self, adamw_params, muon_params, lr=0.1):
        assert all(p.ndim == 2 for p in muon_params)
        super().__init__([*adamw_params, *muon_params], lr)

class ByBoolean(Plain):
    def __init__(self, params, lr=0.1):
        for group in params:
            if group["is_hidden"]:
                assert all(p.ndim == 2 for p in group["params"])
        super().__init__(params, lr)

class ByString(Plain):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        for group in self.param_groups:
            if group["algorithm"] == "adamw":
                continue
            if group["algorithm"] == "dion":
                assert all(p.ndim == 2 for p in group["params"])
            else:
                raise ValueError(group["algorithm"])

class SplitInStep(Plain):
    def step(self, closure=None):
        for group in self.param_groups:
            if group["matrices"]:
                assert all(p.ndim == 2 for p in group["params"])
        super().step()

class RatesInGroups(SGD):
    def __init__(self, param_groups):
        for group in param_groups:
            group["lr"] = 0.1 if group.get("use_muon") else 0.1
        super().__init__(param_groups, lr=1e9)

class TwoRates(SGD):
    def __init__(self, param_groups):
        for group in param_groups:
            group["lr"] = 0.02 if group["use_muon"] else 3e-4
        super().__init__(param_groups, lr=1e9)

class OtherName(Plain):
    gradbench_rate = "learning_rate"
    def __init__(self, params, learning_rate=0.1):
        super().__init__(params, learning_rate)
        self.defaults["learning_rate"] = learning_rate

class WrongName(Plain):
    gradbench_rate = "rate"

class MustBeGiven(Plain):
    def __init__(self, params, lr=None):
        assert lr > 0
        super().__init__(params, lr)

class Keywords(Plain):
    def __init__(self, params, **kwargs):
        super().__init__(params, kwargs["lr"])

class Model(Plain):
    def __init__(self, model, lr=0.1):
        super().__init__(list(model.parameters()), lr)

class Subclass(Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

class Net(Plain):
    def __init__(self, thing, lr=0.1):
        super().__init__([p for m in thing.modules() for p in m.parameters(False)], lr)

class Counts(Plain):
    def __init__(self, params, epochs, batches_per_epoch, dataset_size, lr=0.1):
        self.asked = epochs, batches_per_epoch, dataset_size
        super().__init__(params, lr)

class CountsByDefaultNone(Plain):
    def __init__(self, params, lr=0.1, num_epochs=None, num_batches_per_epoch=None):
        super().__init__(params, lr=lr)
        self.asked = (num_epochs * num_batches_per_epoch,)


class Unusual(Plain):
    def __init__(self, params, flux, lr=0.1):
        super().__init__(params, lr)

class Forward(Plain):
    def step(self, closure):
        loss = closure()
        every = self.param_groups[0]["params"]
        for p, g in zip(every, torch.autograd.grad(loss, every)):
            p.data.sub_(g, alpha=self.param_groups[0]["lr"])

class Backward(Plain):
    def step(self, closure):
        closure().backward()
        super().step()

class Graph(Plain):
    def step(self, closure=None):
        every = self.param_groups[0]["params"]
        if not all(p.grad.requires_grad for p in every):
            raise RuntimeError("second order is off")
        super().step()

class Silent(Plain):
    "Does nothing without a closure, and says nothing either."
    def step(self, closure=None):
        if closure is not None:
            closure()
            super().step()

class Banner(Plain):
    def __init__(self, params, lr=0.1):
        print("=== Banner 1.0 ===")
        super().__init__(params, lr)

class OfInstance(Plain):
    def __init__(self, base_optimizer, k=1):
        self.inner = base_optimizer
        super().__init__(base_optimizer.param_groups, 0.1)
    def step(self, closure=None):
        self.inner.step()

class OfClass(Plain):
    def __init__(self, params, inner, **kwargs):
        self.inner = inner(params, **kwargs)
        super().__init__(self.inner.param_groups, 0.1)
    def step(self, closure=None):
        self.inner.step()
"""

ALIKE = (
    *("Named", "Pairs", "Lists", "Reversed", "ByBoolean", "ByString", "SplitInStep"),
    *("RatesInGroups", "OtherName", "MustBeGiven", "Keywords", "Model", "Subclass", "Net"),
    *("Counts", "CountsByDefaultNone", "Forward", "Backward", "Graph", "Silent", "Banner"),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab") / "built.py"
    path.write_text(BASE)
    return path


def trial(spec, **changes):
    standard = {"scenario": Saturation(depth=1), "budget": 40, "batch": 16, "target_score": 2.0}
    return Trial(optimizer=spec, **(standard | changes))


@pytest.mark.parametrize("name", ALIKE)
def test_it_trains_as_the_plain_one(file, name):
    rate = {"hyperparameters": {"lr": 0.1}}
    plain = run_trial(trial(f"{file}:Plain", **rate))
    found = run_trial(trial(f"{file}:{name}", **rate))
    assert (found.status, found.reason) == ("unsolved", None)
    assert found.curve == [pytest.approx(look, rel=1e-6) for look in plain.curve]
    assert found.gradient_evaluations == 40


@pytest.mark.parametrize("name", [n for n in ALIKE if n not in {"Forward", "Backward"}])
def test_it_is_tuned(file, name):
    factory = resolve(f"{file}:{name}")
    assert factory.tunable
    wanted = 1e-3 if name in {"MustBeGiven", "Keywords"} else 0.1
    assert factory.hyperparameters["lr"] == wanted
    other = run_trial(trial(f"{file}:{name}", hyperparameters={"lr": 0.01}))
    plain = run_trial(trial(f"{file}:Plain", hyperparameters={"lr": 0.01}))
    assert other.curve == [pytest.approx(look, rel=1e-6) for look in plain.curve]


def test_all_rates_of_the_groups_are_scaled_together(file):
    import torch

    factory = resolve(f"{file}:TwoRates")
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    built = factory.build(network, {"lr": 0.2})
    assert [group["lr"] for group in built.param_groups] == pytest.approx([0.2, 3e-3])


def test_a_rate_of_another_name_can_be_fixed(file):
    factory = resolve(f"{file}:OtherName:learning_rate=0.3")
    assert not factory.tunable
    assert factory.hyperparameters == {"lr": 0.3}
    result = run_trial(trial(f"{file}:OtherName:learning_rate=0.3"))
    assert result.curve == run_trial(trial(f"{file}:Plain:lr=0.3")).curve


def test_counts_are_those_of_one_epoch(file):
    import torch

    built = resolve(f"{file}:Counts").build(torch.nn.Linear(2, 1), {}, steps=7, examples=70)
    assert built.asked == (1, 7, 70)
    none = resolve(f"{file}:CountsByDefaultNone")
    assert none.build(torch.nn.Linear(2, 1), {}, steps=7, examples=70).asked == (7,)


@pytest.mark.parametrize("spec", ["Plain+{file}:OfInstance:k=2", "Plain+{file}:OfClass"])
def test_what_is_wrapped_may_be_a_class_or_an_instance(file, spec):
    found = run_trial(trial(f"{file}:{spec.format(file=file)}"))
    assert found.curve == run_trial(trial(f"{file}:Plain")).curve


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Unusual", "write Unusual:flux=VALUE"),
        ("OfInstance", "wraps another optimizer: write that one first, e.g. adam+ofinstance"),
        ("WrongName", "gradbench_rate of WrongName is 'rate'; its constructor takes"),
    ],
)
def test_what_is_refused_says_what_to_write(file, name, line):
    with pytest.raises(SpecError) as caught:
        resolve(f"{file}:{name}")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_banner_is_not_shown(file, capfd):
    resolve.cache_clear()
    resolve(f"{file}:Banner")
    assert capfd.readouterr() == ("", "")


def test_a_sweep_of_rates_in_groups_is_recorded_as_any(file):
    case = Case(
        id="a",
        scenario="gradbench.scenarios.saturation:Saturation",
        setting={"depth": 1},
        budget=20,
        batch=16,
        expectation=Expectation.MAY,
    )
    record, _ = run_item(Item(case=case, optimizer=f"{file}:TwoRates", seeds=1, tuning=3))
    assert {0.002, 0.02, 0.2} <= {point["lr"] for point in record.tuning}


def test_a_file_of_a_package_says_how_to_name_its_module(tmp_path, monkeypatch):
    package = tmp_path / "lab" / "optim"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("")
    (package / "base.py").write_text("from torch.optim import SGD\n")
    (package / "mine.py").write_text("from .base import SGD\n\nclass Mine(SGD):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"a file of the package lab.*write lab.optim.mine:Mine"):
        resolve("lab/optim/mine.py:Mine")
    assert resolve("lab.optim.mine:Mine").cls.__name__ == "Mine"
