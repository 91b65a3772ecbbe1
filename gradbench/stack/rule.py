"""Which way a trial takes: a function of network, optimizer and device type, never of a timing."""

import torch
from torch import nn

from gradbench.stack.audit import Sharing, audit
from gradbench.stack.layers import can_stack
from gradbench.trial import Trial

CPU_NUMBERS = 15_000_000
"""Most weights times examples of a batch with which a stack pays on a CPU: wider layers fill the
processor by themselves. Measured by `benchmarks/stacking.py cut` at five trials: up to 13 million
it was never slower, at 28 million by chance (docs/speed.md). Part of the protocol."""


def way(trial: Trial, network: nn.Module, mode: str) -> Sharing:
    """Return how trials of a case train whose network is built like this one.

    `mode` is on (together wherever they can), off, or another (where it pays).
    """
    if mode == "off" or trial.optimizer is None:
        return Sharing.ALONE
    dtypes = {p.dtype for p in network.parameters()}
    if not can_stack(network) or dtypes - {torch.float32, torch.float64}:
        return Sharing.ALONE
    if mode != "on" and not pays(network, trial.batch, torch.device(trial.device).type):
        return Sharing.ALONE
    sharing, _ = audit(trial.optimizer, next(iter(dtypes)))
    return sharing


def pays(network: nn.Module, batch: int, device_type: str) -> bool:
    """Whether a stack of this network is faster than one trial after another."""
    numbers = sum(p.numel() for p in network.parameters()) * batch
    return device_type != "cpu" or numbers <= CPU_NUMBERS
