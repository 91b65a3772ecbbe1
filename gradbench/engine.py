"""Where items run. Inline: here, when their turn comes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gradbench.item import Item, Tell, run_item
from gradbench.record import Record, TrialResult


@dataclass(frozen=True)
class Inline:
    """Runs each item in this process, with one thread on a CPU: small networks are slower on two.

    One thread also makes a trial's numbers independent of the machine's number of cores.
    """

    name: str = "inline"

    def run(self, item: Item, tell: Tell) -> tuple[Record, list[TrialResult]]:
        """Run one item to its end."""
        with one_thread():
            return run_item(item, tell)


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute on one thread, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
