"""Where items run: here, when their turn comes, or in processes of their own."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import torch

from gradbench.item import Item
from gradbench.running import run_item
from gradbench.streams import one_thread


class Inline:
    """Runs each item in this process, with one thread on a CPU: small networks are slower on two.

    One thread also makes a trial's numbers independent of the machine's number of cores.
    """

    def __init__(self, tell: Callable[[int, str], None]) -> None:
        self.tell, self.submitted = tell, 0

    def submit(self, item: Item) -> Future[Any]:
        """Run one item to its end."""
        place, self.submitted = self.submitted, self.submitted + 1
        future: Future[Any] = Future()
        with one_thread():
            future.set_result(run_item(item, lambda text: self.tell(place, text)))
        return future

    def close(self) -> None:
        """Nothing is left to end."""


ITEMS_EACH = 4
"""A process must have so many items to be worth the seconds that its start takes."""


def workers(engine: str, items: int, device: str) -> list[str]:
    """Return the device of each process; empty where the items run in this one.

    `processes:N` is taken at its word. `auto` and `processes` take one for each core on a CPU, one
    for each device of an accelerator; auto only as many as have four items each, and none for
    one.
    """
    kind = torch.device(device)
    name, _, count = engine.partition(":")
    if name == "inline":
        return []
    if kind.type == "cpu" or kind.index is not None:
        devices = [device]
        found = cores() if kind.type == "cpu" else 1
    else:
        number = torch.get_device_module(kind).device_count()
        devices = [f"{kind.type}:{index}" for index in range(number)]
        found = number
    found = int(count or found)
    if name == "auto":
        found = min(found, items // ITEMS_EACH)
        if found < 2:
            return []
    return [devices[index % len(devices)] for index in range(found)]


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_name(spec: str) -> str:
    """Resolve `auto` to this machine's accelerator, or the CPU where it has none.

    Raises ValueError where this torch cannot use the device.
    """
    if spec == "auto":
        accelerator = torch.accelerator.current_accelerator()
        found = accelerator is not None and torch.accelerator.is_available()
        return accelerator.type if accelerator is not None and found else "cpu"
    try:
        torch.empty(0, device=torch.device(spec))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"cannot use device {spec!r}: {str(error).splitlines()[0]}") from None
    return spec


def environment(device: str, dtype: str) -> dict[str, Any]:
    """Describe what decides a run's numbers and its timings, for run.json."""
    kind = torch.device(device)
    module: Any = None if kind.type == "cpu" else torch.get_device_module(kind)
    name = getattr(module, "get_device_name", lambda _: None)(kind)
    return {
        "device": {"type": kind.type, "name": name},
        "threads": 1,
        "dtype": dtype,
        "tf32": torch.get_float32_matmul_precision() != "highest",
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
