"""Which optimizers may train many trials at once, and which networks."""

import pytest
from torch import nn

from gradbench.optimizers.factory import resolve
from gradbench.training.stack.layers import can_stack
from gradbench.training.stack.policy import elementwise, pays


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("sgd:momentum=0.9", True),
        ("adam:fused=True", True),
        ("rprop", True),
        ("adam+cosine", True),
        ("adam+steplr:step_size=3", True),
        ("lion", False),  # element-wise, but nobody has proven it
        ("lamb", False),
        ("adafactor", False),
        ("adam+lookahead", False),
        ("lbfgs", False),
        ("adam+sam", False),
        ("adahessian", False),
        ("schedulefreeadamw", False),
    ],
)
def test_only_what_is_proven_element_wise_trains_many(spec, found):
    assert elementwise(resolve(spec)) is found


def test_a_class_of_ones_own_is_taken_at_its_word_and_no_further(odd):
    names = ("Renamed", "ClipsTheNorm", "Searched", "Declared", "DeclaredCoupled")
    found = {name: elementwise(resolve(f"{odd}:{name}")) for name in names}
    assert [name for name, shared in found.items() if shared] == ["Declared"]


def test_a_schedule_of_ones_own_is_not_shared(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch.optim.lr_scheduler import StepLR\nclass Mine(StepLR):\n    pass\n"
    )
    assert not elementwise(resolve(f"adam+{tmp_path}/mine.py:Mine:step_size=3"))


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
