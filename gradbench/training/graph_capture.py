"""Records a step as an accelerator graph and replays it: one launch instead of hundreds."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from gradbench.optimizers.stepping import hooked
from gradbench.text import error_line, first_line

FAILED: list[str] = []
"""The error of a recording that failed in this process: nothing is recorded here any more."""

WARM = 3
"""Number of warm-up steps before recording, in which libraries allocate their workspaces."""


BRANCHES = 16
"""Most streams on which the calls of one step run side by side."""


class Graph:
    """Runs a step function; the fourth call records its kernels, and later calls replay them.

    A replay uses the same storage, so the inputs of a step must stay at the same addresses. Raises
    NotImplementedError where this torch records no graphs on the device.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self.step, self.steps, self.device = step, 0, device
        kind = graph_class(device)
        if kind is None:
            raise NotImplementedError(f"torch {torch.__version__} records no graphs on {device}")
        if FAILED:
            raise NotImplementedError(f"recording has failed in this process: {FAILED[0]}")
        self.module: Any = torch.get_device_module(device)
        try:
            self.stream, self.graph = _stream(device), kind()
        except (AttributeError, RuntimeError) as error:
            raise NotImplementedError(f"no graphs on {device}: {first_line(error)}") from error

    def __call__(self) -> None:
        """Take a step."""
        self.steps += 1
        if self.steps < WARM:
            self._on_own_stream(self.step)
        elif self.steps == WARM:
            with self._without_waiting():
                self._on_own_stream(self.step)
        else:
            if self.steps == WARM + 1:
                self.module.synchronize()
                self._on_own_stream(self._record)
            self.graph.replay()

    def side_by_side(self, calls: Sequence[Callable[[], object]]) -> None:
        """Run calls that do not depend on each other, each on a stream of its own up to `BRANCHES`.

        A recording then holds them as parallel branches: most kernels of a step are too small to
        fill the device.
        """
        if len(calls) == 1:
            calls[0]()
            return
        here = self.module.current_stream(self.device)
        streams = _branches(self.device)[: len(calls)]
        for stream in streams:
            stream.wait_stream(here)
        for number, call in enumerate(calls):
            with self.module.stream(streams[number % len(streams)]):
                call()
        for stream in streams:
            here.wait_stream(stream)

    def release(self) -> None:
        """Free the memory of the recorded graph and its step; nothing can be replayed any more."""
        self.graph.reset()
        self.step = lambda: None  # its owner holds the graph: without this, a reference cycle

    @contextlib.contextmanager
    def _without_waiting(self) -> Iterator[None]:
        """Raise an error where a step waits for the device, which a recording cannot contain.

        A failed recording leaves the allocator in a state that affects later items.
        """
        if not hasattr(self.module, "set_sync_debug_mode"):
            yield
            return
        before = self.module.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that it finds most such steps, not all
            self.module.set_sync_debug_mode("error")
        try:
            yield
        finally:
            self.module.set_sync_debug_mode(before)

    def _on_own_stream(self, call: Callable[[], None]) -> None:
        """Call on the graph's own stream, in order with other work of the current stream."""
        here = self.module.current_stream(self.device)
        self.stream.wait_stream(here)
        with self.module.stream(self.stream):
            call()
        here.wait_stream(self.stream)

    def _record(self) -> None:
        self.graph.capture_begin()
        try:
            self.step()
        except BaseException as error:
            FAILED.append(error_line(error))
            with contextlib.suppress(Exception):  # the first error is the informative one
                self.graph.capture_end()
            raise
        self.graph.capture_end()


@functools.cache
def _stream(device: torch.device) -> Any:  # noqa: ANN401
    """Return the stream of all recordings on a device: each stream has memory of its own."""
    return torch.get_device_module(device).Stream(device)


@functools.cache
def _branches(device: torch.device) -> list[Any]:
    module = torch.get_device_module(device)
    return [module.Stream(device) for _ in range(BRANCHES)]


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
    """Return whether a recorded step of the optimizer equals its ordinary step.

    A replay runs no Python code, so the class must be one of torch.optim with the option
    `capturable`, and have no hooks. SGD needs no such option: it keeps no state in Python.
    """
    own = type(optimizer).__module__.startswith("torch.optim") and "step" not in vars(optimizer)
    if not own or hooked(optimizer):
        return False
    return type(optimizer) is SGD or all("capturable" in g for g in optimizer.param_groups)


def make_capturable(optimizer: Optimizer) -> None:
    """Make an optimizer recordable after its first step: set `capturable`, move step counts.

    Scalar state moves to the device as float64: a recorded Adam computes 1 - 0.999^t there, of
    which float32 loses five of its seven digits at first. (An ordinary step computes it in Python.)
    Fused kernels read float32 counts, and keep them.
    """
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            for name, value in state.items():
                scalar = isinstance(value, Tensor) and value.ndim == 0 < parameter.ndim
                if scalar and value.is_floating_point():
                    dtype = value.dtype if group.get("fused") else torch.float64
                    state[name] = value.to(parameter.device, dtype)
