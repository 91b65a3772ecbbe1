"""A trial's random streams, and isolation of the process's own random state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gradbench.scenarios.draws import Draws
from gradbench.torch_state import current, reproducible, unchanged
from gradbench.training.trial import Trial


def draws(trial: Trial, purpose: str, device: str = "cpu", first: int = 0) -> Draws:
    """Return the draws of one of the trial's streams from row `first` on, on a device.

    On the CPU where the device has no float64: whoever draws moves what is drawn.
    """
    place = "cpu" if torch.device(device).type == "mps" else device
    return Draws(trial.stream(purpose), place, first)


@contextmanager
def isolated(trial: Trial) -> Iterator[None]:
    """Leave the process's random state and default type as they were, whatever the trial does."""
    device = torch.device(trial.device)
    forked = {} if device.type == "cpu" else {"device_type": device.type}
    devices = [device.index or 0] if forked else []
    dtype = getattr(torch, trial.dtype)
    with unchanged(dtype, devices, **forked), current(device), reproducible(device):
        yield
