"""Wrappers in a spec: what they wrap, what they need, and what they cannot."""

import pytest
import torch

from gradbench.optimizers.factory import resolve
from gradbench.spec import SpecError, parse

MINE = """
import torch

class Sharp(torch.optim.Optimizer):
    "Takes the parameters and the class of what it wraps."
    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups
    def step(self, closure=None):
        return self.base_optimizer.step(closure)

class Around(torch.optim.Optimizer):
    "Takes what it wraps, already built."
    def __init__(self, optimizer, k=5):
        self.inner, self.k = optimizer, k
        super().__init__(optimizer.param_groups, optimizer.defaults)
    def step(self, closure=None):
        return self.inner.step(closure)

class Says(Sharp):
    gradbench_needs = {"closure": True, "gradients_first": True}

class Moody(torch.optim.SGD):
    def train(self): ...
    def eval(self): ...
"""


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def build(spec):
    network = torch.nn.Linear(3, 2)
    return resolve(spec).build(network, {}), list(network.parameters())


def test_both_conventions(mine):
    sharp, parameters = build(f"sgd:lr=0.3,momentum=0.5+{mine}:Sharp:rho=0.2")
    group = sharp.param_groups[0]
    assert (group["lr"], group["momentum"], sharp.defaults["rho"]) == (0.3, 0.5, 0.2)
    assert isinstance(sharp.base_optimizer, torch.optim.SGD)
    assert [id(p) for p in group["params"]] == [id(p) for p in parameters]
    around, _ = build(f"adam:lr=0.3+{mine}:Around:k=2")
    assert (around.k, around.inner.param_groups[0]["lr"]) == (2, 0.3)


def test_what_a_wrapper_says_of_itself_counts_beside_what_it_wraps_needs(mine):
    assert vars(resolve(f"sgd+{mine}:Says").requirements)["gradients_first"]
    assert resolve(f"lbfgs+{mine}:Around").requirements.closure
    assert resolve(f"sgd+{mine}:Says+{mine}:Around").requirements.gradients_first


def test_they_nest_from_the_inside_out(mine):
    outer, _ = build(f"sgd:lr=0.3+{mine}:Sharp+{mine}:Around")
    assert type(outer).__name__.startswith("AroundOf")
    assert isinstance(outer.inner.base_optimizer, torch.optim.SGD)


def test_the_sweep_moves_the_inner_rate(mine):
    factory = resolve(f"adam+{mine}:Sharp")
    assert factory.tunable
    assert factory.rate == 1e-3
    assert not resolve(f"adam:lr=0.1+{mine}:Sharp").tunable
    built = factory.build(torch.nn.Linear(2, 1), {"lr": 0.25})
    assert built.param_groups[0]["lr"] == 0.25


def test_what_cannot_be_wrapped_says_why(mine):
    with pytest.raises(SpecError, match="SGD wraps no optimizer: it takes params"):
        resolve("adam+sgd")
    with pytest.raises(SpecError, match=r"Moody has train\(\), which Around would hide"):
        resolve(f"{mine}:Moody+{mine}:Around")
    with pytest.raises(SpecError, match="unexpected keyword argument 'rh'"):
        resolve(f"adam+{mine}:Sharp:rh=1")
    with pytest.raises(SpecError, match="rho is the inner one's"):
        resolve(f"adadelta:rho=0.7+{mine}:Sharp:rho=0.05")
    with pytest.raises(SpecError, match="lr is the inner one's"):
        resolve(f"adamw+{mine}:Sharp:lr=0.1")


def test_a_plus_in_a_number_a_bracket_or_a_string_joins_nothing():
    spec = parse("sgd:lr=1e+1,momentum=0.5+lookahead:k=3")
    assert spec.arguments == {"lr": 10.0, "momentum": 0.5}
    assert [part.text for part in spec.added] == ["lookahead:k=3"]
    assert parse("a:x='b+c',y=('d+e',)").arguments == {"x": "b+c", "y": ("d+e",)}
    assert parse("lab/c++/opt.py:A+cosine").source == "lab/c++/opt.py"
    assert parse("sgd+lookahead:k=3").slug == "sgd-lookahead-k-3"


def test_looking_at_gradients_in_some_steps_is_seen():
    """LookSAM reads the gradients that are there in every tenth step only."""
    pytest.importorskip("pytorch_optimizer")
    assert resolve("adamw+looksam").requirements.gradients_first
    assert resolve("sgd+lookahead").requirements == resolve("sgd").requirements
    assert resolve("adam+schedulefreewrapper").requirements.modes
    assert resolve("sgd+wsam").requirements.model
