"""Records a step as an accelerator graph and replays it: one launch instead of hundreds."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, Optimizer

WARM = 3
"""Steps before one is recorded, in which libraries get what they work with."""


class Graph:
    """Takes steps; from the fourth on by replaying what one of them has launched.

    A replay works on the same storage, so what a step reads must lie where it lay. Raises
    NotImplementedError where this torch records no graphs on the device.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self.step, self.steps = step, 0
        kind: Any = getattr(torch.accelerator, "Graph", None)
        if device.type == "cpu" or kind is None:
            where = device.type if device.type == "cpu" else f"torch {torch.__version__}"
            raise NotImplementedError(f"{where} records no graphs")
        self.stream = torch.Stream(device)
        self.graph = kind()

    def __call__(self) -> None:
        """Take a step."""
        self.steps += 1
        if self.steps <= WARM:
            here = torch.accelerator.current_stream()
            self.stream.wait_stream(here)
            with self.stream:
                self.step()
            here.wait_stream(self.stream)
            return
        if self.steps == WARM + 1:
            with self.stream, self.graph:
                self.step()
        self.graph.replay()


def make_capturable(optimizer: Optimizer) -> None:
    """Move the optimizer's state that a graph needs to the device.

    Raises NotImplementedError where it does not say that its step can be recorded, or where it is
    not one of torch.optim: a recorded step leaves out what a class does in Python.
    """
    if not type(optimizer).__module__.startswith("torch.optim"):
        raise NotImplementedError(f"{type(optimizer).__name__} is not one of torch.optim")
    if type(optimizer) is SGD:  # it keeps nothing else
        return
    for group in optimizer.param_groups:
        if "capturable" not in group:
            raise NotImplementedError(f"{type(optimizer).__name__} is not capturable")
        group["capturable"] = True
