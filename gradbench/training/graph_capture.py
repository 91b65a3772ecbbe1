"""Records a step as an accelerator graph and replays it: one launch instead of hundreds."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from gradbench.optimizers.stepping import hooked

WARM = 3
"""Steps before one is recorded, in which libraries allocate what they work with."""


class Graph:
    """Takes steps; from the fourth on by replaying the kernels that one of them launched.

    A replay works on the same storage, so what a step reads must lie where it lay. Raises
    NotImplementedError where this torch records no graphs on the device.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self.step, self.steps, self.device = step, 0, device
        kind = graph_class(device)
        if kind is None:
            raise NotImplementedError(f"torch {torch.__version__} records no graphs on {device}")
        self.module: Any = torch.get_device_module(device)
        self.stream = self.module.Stream(device)
        self.graph = kind()

    def __call__(self) -> None:
        """Take a step."""
        self.steps += 1
        if self.steps <= WARM:
            self._on_own_stream(self.step)
            return
        if self.steps == WARM + 1:
            self.module.synchronize()
            self._on_own_stream(self._record)
        self.graph.replay()

    def release(self) -> None:
        """Give back the memory of what was recorded; nothing can be replayed any more."""
        self.graph.reset()

    def _on_own_stream(self, call: Callable[[], None]) -> None:
        """Call after everything before it, and before everything after it."""
        here = self.module.current_stream(self.device)
        self.stream.wait_stream(here)
        with self.module.stream(self.stream):
            call()
        here.wait_stream(self.stream)

    def _record(self) -> None:
        self.graph.capture_begin()
        try:
            self.step()
        except BaseException:
            with contextlib.suppress(Exception):  # what broke the recording says more
                self.graph.capture_end()
            raise
        self.graph.capture_end()


def graph_class(device: torch.device) -> Any:  # noqa: ANN401
    """Return the class that records graphs on a device, None where this torch has none.

    `torch.accelerator.Graph` came with torch 2.12; before it a device's own module has one.
    """
    if device.type == "cpu":
        return None
    own = f"{device.type.upper()}Graph"
    return getattr(torch.accelerator, "Graph", None) or getattr(
        torch.get_device_module(device), own, None
    )


def can_capture(optimizer: Optimizer) -> bool:
    """Whether a recorded step of the optimizer is its step.

    A recorded step leaves out what is done in Python, so the class must be torch's, say that it can
    be recorded, and have no hooks. Plain SGD keeps nothing in Python.
    """
    own = type(optimizer).__module__.startswith("torch.optim") and "step" not in vars(optimizer)
    if not own or hooked(optimizer):
        return False
    return type(optimizer) is SGD or all("capturable" in g for g in optimizer.param_groups)


def make_capturable(optimizer: Optimizer) -> None:
    """Have an optimizer that has taken a step keep on the device what a graph needs.

    Counts of steps become float64: a recorded Adam takes 1 - 0.999^t on the device, of which
    float32 loses five of its seven digits at first. (A plain one does so in Python.)
    """
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            for name, value in state.items():
                if isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point():
                    state[name] = value.to(parameter.device, torch.float64)
