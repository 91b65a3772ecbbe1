"""Optimizers of Optax: formulas by hand, torch's own, groups, round trips, and refusals."""

import copy
import sys

import pytest
import torch

from gradbench.checks.conform.comparison import conform
from gradbench.optimizers.factory import resolve
from gradbench.optimizers.requirements import RefusedError
from gradbench.spec import SpecError

needs_optax = pytest.mark.proof


def test_a_spec_of_optax_without_optax_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optax", None)
    with pytest.raises(SpecError, match=r"needs Optax: pip install 'pytest-gradbench\[optax\]'"):
        resolve("optax:adam:learning_rate=0.5")


@needs_optax
@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("optax:nothing", "optax has no optimizer 'nothing'"),
        ("optax:clip", "optax has no optimizer 'clip'"),
        ("optax:lbfgs", "its line search needs the loss"),
        ("optax:adam:learning_rte=1", "adam has no argument 'learning_rte'; it takes lr, "),
    ],
)
def test_what_cannot_be_used_is_one_line(spec, said):
    with pytest.raises(SpecError, match=said) as raised:
        resolve(spec)
    assert "\n" not in str(raised.value)


@needs_optax
def test_optaxs_names_of_options_are_torchs():
    factory = resolve("optax:adamw:learning_rate=0.25,b1=0.8")
    assert factory.hyperparameters == {"lr": 0.25, "betas": (0.8, 0.999)}


def stepped(optimizer, p, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        (p.square().sum() / 2).backward()
        optimizer.step()


@needs_optax
def test_momentum_is_its_formula():
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    module = torch.nn.ParameterList([p])
    stepped(resolve("optax:sgd:momentum=0.5").build(module, {"lr": 0.1}), p)
    want, trace = torch.tensor([1.0, -2.0], dtype=torch.float64), 0.0
    for _ in range(3):
        trace = want + 0.5 * trace
        want = want - 0.1 * trace
    assert torch.allclose(p, want, rtol=1e-14, atol=0)


@needs_optax
@pytest.mark.parametrize(
    ("a", "b"),
    [("adamw", "optax:adamw"), ("adadelta", "optax:adadelta"), ("lion", "optax:lion")],
)
def test_torchs_optimizer_is_optaxs(a, b):
    found = conform(a, b)
    assert found.same
    refused = {each.problem for each in found.compared if each.trouble}
    assert refused == {"sparse in time"}  # Optax updates every parameter in every step


@needs_optax
def test_rmsprop_of_optax_has_its_eps_inside_the_root():
    found = conform("rmsprop", "optax:rmsprop")
    assert not found.same
    assert found.diagnosis == "B is A, but its eps is inside the root"


@needs_optax
def test_state_goes_on_from_a_state_dict():
    paths = []
    for again in (False, True):
        p = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        module = torch.nn.ParameterList([p])
        factory = resolve("optax:adam:learning_rate=0.1")
        optimizer = factory.build(module, {})
        stepped(optimizer, p)
        if again:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = factory.build(module, {})
            optimizer.load_state_dict(state)
        stepped(optimizer, p)
        paths.append(p.detach().clone())
    assert torch.equal(*paths)


@needs_optax
def test_a_gradient_that_is_missing_in_some_steps_is_refused():
    used, other = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    module = torch.nn.ParameterList([used, other])
    optimizer = resolve("optax:adam:learning_rate=0.1").build(module, {})
    (used.sum() + other.sum()).backward()
    optimizer.step()
    optimizer.param_groups[0]["params"].append(torch.nn.Parameter(torch.ones(2)))
    optimizer.param_groups[0]["params"][-1].grad = torch.ones(2)  # as many gradients as before
    other.grad = None
    with pytest.raises(RefusedError, match="every parameter in every step"):
        optimizer.step()
