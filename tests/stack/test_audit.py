"""Which optimizers may train many trials at once, and which networks."""

import pytest
import torch
from torch import nn

from gradbench.stack.audit import Sharing, _free, audit
from gradbench.stack.layers import can_stack
from gradbench.stack.rule import pays


@pytest.mark.parametrize(
    "spec",
    [
        *("sgd", "sgd:momentum=0.9", "adam", "adam:amsgrad=True", "adam:fused=True"),
        *("adamw", "nadam", "radam", "adagrad", "adadelta", "adamax", "rmsprop:centered=True"),
        *("asgd", "adam+cosine", "lion"),
    ],
)
def test_elementwise(spec):
    assert audit(spec, torch.float32) == (Sharing.TOGETHER, "")


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("lamb", "norm"),
        ("prodigy", "dot"),
        ("dadaptadam", "sum"),
        ("swats", "dot"),
        ("adafactor", ""),
        ("rprop", "index_put"),
        ("shampoo", ""),
        ("adam+lookahead", ""),
    ],
)
def test_coupled_ones_are_never_one_for_many(spec, why):
    found, said = audit(spec, torch.float32)
    assert found is not Sharing.TOGETHER
    assert why in said


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("lbfgs", "closure"),
        ("adam+sam", "closure"),
        ("es", "closure"),
        ("adahessian", "create_graph"),
        ("schedulefreeadamw", "modes"),
        ("muon", ""),
    ],
)
def test_what_asks_for_more_than_a_step_is_alone(spec, why):
    found, said = audit(spec, torch.float32)
    assert found is Sharing.ALONE
    assert why in said


def test_by_what_they_do_not_what_they_are_called(odd):
    found = {
        name: audit(f"{odd}:{name}", torch.float32)
        for name in (
            *("Renamed", "ClipsTheNorm", "ByShape", "AfterTenSteps", "Noisy", "Declared"),
            "DeclaredCoupled",
        )
    }
    assert audit(f"{odd}:Searched", torch.float32)[0] is Sharing.APART  # it may clip elsewhere
    assert audit(f"{odd}:Searched:clip=0", torch.float32)[0] is Sharing.TOGETHER
    assert found["Renamed"] == (Sharing.TOGETHER, "")
    assert found["ClipsTheNorm"][0] is Sharing.APART
    assert found["ByShape"] == (Sharing.APART, "not element-wise: other steps")
    assert found["AfterTenSteps"][0] is Sharing.APART
    assert found["Noisy"] == (Sharing.ALONE, "it draws random numbers")
    assert found["Declared"][0] is Sharing.TOGETHER
    assert found["DeclaredCoupled"][0] is Sharing.APART


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("_foreach_add_", True),
        ("_foreach_maximum", True),
        ("_foreach_zero_", True),
        ("_foreach_norm", False),
        ("_foreach_max", False),
        ("_foreach_powsum", False),
        ("_foreach_mm", False),
        ("_fused_adam_", True),
        ("zeros_like", True),
        ("sum", False),
    ],
)
def test_operations_on_lists_are_free_where_those_on_one_are_point_wise(name, free):
    assert _free(name) is free


def test_an_audit_leaves_the_random_state_as_it_was(odd):
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    audit.__wrapped__(f"{odd}:Noisy", torch.float32)
    assert torch.rand(1) == wanted


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first

    def forward(self, x):
        return self.second(self.first(x))


class Mine(nn.Linear):
    pass


def frozen():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(requires_grad=False)
    return layer


def hooked():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *_: None)
    return layer


def shared():
    layer = nn.Linear(2, 2)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize(
    "network",
    [
        *(Twice(), Mine(2, 2), frozen(), hooked(), shared(), nn.ReLU()),
        nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)),
        nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)),
        nn.Sequential(nn.Conv1d(1, 1, 2)),
    ],
)
def test_networks_that_a_stack_does_not_know(network):
    assert not can_stack(network)


def test_networks_that_it_knows():
    assert can_stack(nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)))


def test_the_rule_is_by_size_and_device_type():
    small, large = nn.Linear(10, 10), nn.Linear(1000, 1000)
    assert pays(small, 128, "cpu")
    assert not pays(large, 128, "cpu")
    assert pays(large, 128, "cuda")
