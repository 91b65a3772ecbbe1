"""A trial's random streams, and isolation of the process's own random state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gradbench.scenarios.draws import Draws
from gradbench.torch_state import current, reproducible, unchanged
from gradbench.training.trial import Trial


def draws(trial: Trial, purpose: str, device: str = "cpu", first: int = 0) -> Draws:
    """Return one of the trial's random streams on a device, starting at row `first`.

    For MPS, which has no float64, the stream is on the CPU, and callers move the drawn tensors.
    """
    place = "cpu" if torch.device(device).type == "mps" else device
    return Draws(trial.stream(purpose), place, first)


@contextmanager
def isolated(trial: Trial) -> Iterator[None]:
    """Make the trial's dtype the default; restore it and the random state afterwards.

    Gradients are enabled inside. On an accelerator convolutions are deterministic, and a numbered
    device is the current one.
    """
    device = torch.device(trial.device)
    forked = {} if device.type == "cpu" else {"device_type": device.type}
    devices = [device.index or 0] if forked else []
    dtype = getattr(torch, trial.dtype)
    with unchanged(dtype, devices, **forked), current(device), reproducible(device):
        yield
