"""A trial's random numbers: its own streams, and the process's state left as it was."""

import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from gradbench.draws import Draws
from gradbench.trial import Trial


def draws(trial: Trial, purpose: str, device: str = "cpu", first: int = 0) -> Draws:
    """Return the draws of one of the trial's streams from row `first` on, on a device.

    On the CPU where the device has no float64: whoever draws moves what is drawn.
    """
    place = "cpu" if torch.device(device).type == "mps" else device
    return Draws(trial.stream(purpose), place, first)


def seed_globals(seed: int) -> None:
    """Seed what an optimizer may draw from without being handed a generator."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


@contextmanager
def isolated(trial: Trial) -> Iterator[None]:
    """Leave the process's random state and default type as they were, whatever the trial does."""
    device = torch.device(trial.device)
    forked = {} if device.type == "cpu" else {"device_type": device.type}
    devices = [device.index or 0] if forked else []
    dtype = getattr(torch, trial.dtype)
    with unchanged(dtype, devices, **forked), current(device):
        yield


@contextmanager
def unchanged(dtype: torch.dtype, devices: Sequence[int] = (), **forked: str) -> Iterator[None]:
    """Work in this default type, with gradients; then the random state is as it was, and the type.

    The random state of these devices, beside the CPU's.
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
    """Have a numbered device be the current one, on whose stream events are recorded."""
    if device.type == "cpu" or device.index is None:
        return nullcontext()
    guard: AbstractContextManager[Any] = torch.get_device_module(device).device(device)
    return guard


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
    """Have torch compute on one thread, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
