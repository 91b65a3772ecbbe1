"""Where an optimizer keeps its learning rate, and of what kind it is, does not keep it untuned."""

import pytest
import torch

from gradbench.optimizers.factory import resolve
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import run_item
from gradbench.results.record import Expectation

SOURCE = """
import numpy as np
import torch

class Signs(torch.optim.Optimizer):
    "Keeps its rate to itself."
    def __init__(self, params, lr=1e-3):
        super().__init__(params, {})
        self.lr = lr

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad.sign(), alpha=-float(self.lr))

class OfNumpy(Signs):
    def __init__(self, params, lr=np.float32(1e-3)):
        super().__init__(params, lr)

class Whole(Signs):
    def __init__(self, params, lr=1):
        super().__init__(params, lr)

class Renamed(Signs):
    gradbench_rate = "eta"
    def __init__(self, params, eta=1e-3):
        super().__init__(params, eta)

class OfTensor(Signs):
    def __init__(self, params, lr=torch.tensor(1e-3)):
        assert lr.dtype == torch.float32
        super().__init__(params, lr)

class OfDoubles(Signs):
    def __init__(self, params, lr=torch.tensor([1e-3], dtype=torch.float64)):
        assert lr.shape == (1,) and lr.dtype == torch.float64
        super().__init__(params, lr)
        lr.mul_(2)  # its own, as every trial gets one

class Absent(Signs):
    def __init__(self, params):
        super().__init__(params)

class Adaptive(Signs):
    def __init__(self, params, lr=None):
        super().__init__(params, 1e-3)

class Worded(Signs):
    def __init__(self, params, lr="auto"):
        super().__init__(params, 1e-3)

class Hidden(Signs):
    def __init__(self, params, **options):
        super().__init__(params, options.get("lr", 1e-3))
"""

RATES = dict.fromkeys(("Signs", "OfNumpy", "Renamed", "OfTensor", "OfDoubles"), 0.001)
RATES["Whole"] = 1.0
NONE = {
    "Absent": "its constructor takes no lr",
    "Adaptive": "its lr, by default None, is no number to start from",
    "Worded": "its lr, by default 'auto', is no number to start from",
    "Hidden": "its constructor takes no lr that can be read",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("rates") / "rates.py"
    path.write_text(SOURCE)
    return path


def attempted(spec):
    case = Case(
        id="small",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 4, "weight": 2},
        budget=40,
        batch=16,
        expectation=Expectation.MAY,
    )
    return run_item(Item(case=case, optimizer=spec, seeds=2, tuning=3))[0]


@pytest.mark.parametrize("name", RATES)
def test_the_rate_is_found_and_tuned(path, name):
    record = attempted(f"{path}:{name}")
    assert resolve(f"{path}:{name}").rate == pytest.approx(RATES[name], rel=1e-6)
    rates = {point["lr"] for point in record.tuning}
    centre = RATES[name]
    assert {0.1 * centre, centre, 10 * centre} <= {float(f"{rate:.6g}") for rate in rates}
    assert not any("not tuned" in note for note in record.notes)
    assert {trial["status"] for trial in record.trials} <= {"solved", "unsolved"}


@pytest.mark.parametrize("name", NONE)
def test_where_there_is_none_the_note_is_true(path, name):
    record = attempted(f"{path}:{name}")
    assert not record.tuning
    assert f"not tuned: {NONE[name]}" in record.notes


def test_a_rate_that_is_given_is_of_the_kind_that_the_constructor_takes(path):
    assert attempted(f"{path}:OfTensor:lr=0.01").trials[0]["status"] in {"solved", "unsolved"}
    built = resolve(f"{path}:OfTensor").build(torch.nn.Linear(2, 1), {"lr": 0.25})
    assert torch.equal(built.lr, torch.tensor(0.25))
