"""Sets and restores a process's random state, default type, current device and threads."""

import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch


def seed_globals(seed: int) -> None:
    """Seed the global generators of torch, Python and numpy."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


@contextmanager
def unchanged(dtype: torch.dtype, devices: Sequence[int] = (), **forked: str) -> Iterator[None]:
    """Set the default type and enable gradients; restore type and random states afterwards.

    The random states are those of Python, numpy, the CPU and these devices.
    """
    before, python, legacy = torch.get_default_dtype(), random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices, **forked), torch.enable_grad():
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def current(device: torch.device) -> AbstractContextManager[Any]:
    """Make a numbered device current; events are recorded on the current device's stream."""
    if device.type == "cpu" or device.index is None:
        return nullcontext()
    guard: AbstractContextManager[Any] = torch.get_device_module(device).device(device)
    return guard


def accelerated(device: torch.device) -> bool:
    """Whether calls on a device are asynchronous: on all but the CPU."""
    return device.type != "cpu"


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Make an accelerator's convolutions reproducible to the bit, and not of lower precision.

    By default torch uses TF32, which rounds float32 to ten bits of mantissa, for convolutions
    only. Here they use it where products of matrices do.
    """
    if not accelerated(device):
        yield
        return
    library: Any = torch.backends.cudnn
    wanted = {
        "deterministic": True,
        "benchmark": False,
        "allow_tf32": torch.get_float32_matmul_precision() != "highest",
    }
    before = {name: getattr(library, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(library, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(library, name, value)


def random_state(device: torch.device) -> tuple[Any, ...]:
    """Return the states of all global generators that a step on a device may draw from."""
    legacy: Any = np.random.get_state()  # noqa: NPY002
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state(device))
    numbers = tuple(state.cpu().numpy().tobytes() for state in states)
    return *numbers, random.getstate(), legacy[1].tobytes(), legacy[2]


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread, and restore the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
