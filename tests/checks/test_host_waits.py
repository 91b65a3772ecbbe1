"""How often a step would wait for an accelerator: planted waits, and torch's own on `meta`, where
reading a value is an error and the host's tensors are real."""

import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gradbench.checks import host_waits
from gradbench.checks.errors import NotCheckedError
from gradbench.checks.host_waits import (
    Waits,
    counted_on,
    counted_on_the_cpu,
    waits_for_no_device,
)
from gradbench.optimizers.factory import resolve

pytestmark = pytest.mark.filterwarnings("ignore:called a synchronizing operation")

SHARED = runpy.run_path(str(Path(__file__).with_name("lines_that_wait.py")))
LINES, tensors = SHARED["LINES"], SHARED["tensors"]

PARAMETERS = 2
"""Of the problem on which waits are counted."""


class Descent(torch.optim.SGD):
    """Gradient descent that calls `also(p, state)` for each parameter."""

    also = staticmethod(lambda p, state: None)

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                type(self).also(p, self.state[p])


def on_host(p, state):
    state["step"] = state.get("step", torch.tensor(0.0)) + 1
    return state["step"].item()


def on_device(p, state):
    state["step"] = state.get("step", torch.zeros((), device=p.device)) + 1
    return 0.9 ** state["step"].item()


def fills(value):
    """Return a step that puts a value where the gradient is not a number."""

    def also(p, state):
        p.grad[p.grad.isnan()] = value(p)

    return also


WAITS = {
    "host": (on_host, 0),
    "device": (on_device, 1),
    "fills": (fills(lambda _: 0.0), 0),
    "fills_from_host": (fills(lambda _: torch.tensor(0.0)), 0),
    "fills_from_device": (fills(lambda p: p.grad.sum()), 1),
    "replaces": (lambda p, _: p.grad.__setitem__(p.grad > 0, p.grad[p.grad > 0]), 2),
    "chooses": (lambda p, _: torch.where(p.grad > 0, p.grad, 0), 0),
    "branches": (lambda p, _: 1 if p.grad.norm() > 1 else 0, 1),
    "formats": (lambda p, _: float(p.detach().sum()) + int(p.detach().sum()), 2),
    "copies": (lambda p, _: p.grad.to("cpu"), 1),
    "copied": (lambda p, _: p.grad.cpu().tolist(), 1),
    "stays": (lambda p, _: p.grad.to(p.device).sum(), 0),
    "sizes": (lambda p, _: (p.grad.nonzero(), p.numel(), p.shape, p.is_sparse), 1),
    "decomposes": (lambda p, _: torch.linalg.eigh(p.grad.flatten()[:1, None] ** 2), 1),
    "foreach": (lambda p, _: torch._foreach_norm([p.grad])[0].item(), 1),
    "warns": (lambda p, _: warnings.warn("called a synchronizing operation", stacklevel=1), 0),
}


@pytest.mark.parametrize(
    ("line", "waits"),
    [(line.strip(), w) for w, lines in LINES.items() for line in lines.strip().splitlines()],
)
def test_a_line_waits_or_does_not(line, waits):
    there, here = tensors(torch.device("cpu"))
    with Waits([*there.values(), there["x"].grad]) as noted:
        exec(line, here | there)  # noqa: S102  # a line of this file
    assert bool(noted.found) is waits, noted.found


for name, (also, _) in WAITS.items():  # classes that a spec can name
    globals()[name] = type(name, (Descent,), {"also": staticmethod(also)})


class OnePath(Descent):
    """Reads a value in its loop over tensors, which an accelerator's default leaves out."""

    def __init__(self, params, lr=0.1, foreach=None):
        super().__init__(params, lr=lr, foreach=foreach)
        self.loops = not foreach

    def step(self, closure=None):
        super().step(closure)
        if self.loops:
            self.param_groups[0]["params"][0].grad.sum().item()


def test_an_optimizer_takes_the_path_that_it_takes_on_an_accelerator():
    assert not counted_on_the_cpu(resolve(f"{__file__}:OnePath"))
    assert len(counted_on_the_cpu(resolve(f"{__file__}:OnePath:foreach=False"))) == 1


@pytest.mark.parametrize("name", WAITS)
def test_each_wait_of_a_step_is_counted_with_its_place(name):
    found = counted_on_the_cpu(resolve(f"{__file__}:{name}"))
    assert len(found) == WAITS[name][1] * PARAMETERS
    assert all("at test_host_waits.py:" in place for place in found)


def test_on_a_device_torchs_own_warnings_of_one_step_are_counted(monkeypatch):
    modes = ["default"]
    module = SimpleNamespace(
        get_sync_debug_mode=lambda: modes[-1], set_sync_debug_mode=modes.append
    )
    monkeypatch.setattr(torch, "get_device_module", lambda _: module)
    found = counted_on("cpu", resolve(f"{__file__}:warns"))
    assert len(found) == PARAMETERS
    assert all(place.startswith("a read at test_host_waits.py:") for place in found)
    assert modes == ["default", "warn", "default"]
    monkeypatch.setattr(host_waits, "CHECKS", Path(__file__).parent)
    assert not counted_on("cpu", resolve(f"{__file__}:warns"))  # as from a problem's own data


def test_where_the_device_does_not_tell_waits_are_counted_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("mps"))
    monkeypatch.setattr(torch, "get_device_module", lambda _: SimpleNamespace())
    with pytest.raises(NotCheckedError, match=rf"\(counted on the CPU\) {PARAMETERS} times"):
        waits_for_no_device(f"{__file__}:device")


def fails_on_meta(name):
    """Return whether steps on parameters without values fail for want of one."""
    p = torch.nn.Parameter(torch.zeros(3, 4, device="meta"))
    cls = getattr(torch.optim, name)
    optimizer = cls([p], **({} if name == "LBFGS" else {"foreach": True}))

    def closure():
        p.grad = torch.zeros_like(p)
        return (p * p).sum()

    try:
        for _ in range(3):
            closure()
            optimizer.step(closure)
    except RuntimeError as error:
        return "meta" in str(error)
    return False


TORCHS = "SGD Adam AdamW RMSprop Adagrad Adadelta NAdam Adamax RAdam ASGD Rprop LBFGS Adafactor"


@pytest.mark.parametrize("name", TORCHS.split())
def test_torchs_own_wait_where_they_cannot_step_without_values(name):
    assert bool(counted_on_the_cpu(resolve(name.lower()))) is fails_on_meta(name)


def test_the_check_says_how_often_and_where():
    with pytest.raises(
        NotCheckedError,
        match=r"waits for an accelerator .* times, first by item at (optimizer|asgd)\.py:",
    ):
        waits_for_no_device("asgd")
    assert "never waits" in waits_for_no_device("adam")
    with pytest.raises(NotCheckedError, match="refused: AssertionError: If capturable=True"):
        waits_for_no_device("adam:capturable=True")
