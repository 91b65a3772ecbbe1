"""Which way a trial takes: a function of network, optimizer and device type, never of a timing."""

from dataclasses import dataclass

import torch
from torch import nn

from gradbench.stack.audit import Sharing, audit
from gradbench.stack.layers import can_stack
from gradbench.trial import Trial

CPU_NUMBERS = 15_000_000
"""Most weights times examples of a batch with which a stack pays on a CPU: wider layers fill the
processor by themselves. Measured by `benchmarks/stacking.py cut` at five trials: up to 13 million
it was never slower, at 28 million by chance (docs/speed.md). Part of the protocol."""


@dataclass(frozen=True)
class Way:
    """How trials of a case train, and why not closer together."""

    sharing: Sharing
    why: str = ""


def way(trial: Trial, network: nn.Module, mode: str) -> Way:
    """Return the way of a trial whose network is built like this one.

    `mode` is auto (where it pays), on (wherever it can be) or off.
    """
    if mode == "off":
        return Way(Sharing.ALONE, "switched off")
    if trial.optimizer is None:
        return Way(Sharing.ALONE, "it takes no optimizer")
    dtypes = {p.dtype for p in network.parameters()}
    if not can_stack(network) or dtypes - {torch.float32, torch.float64}:
        return Way(Sharing.ALONE, "its network is not made of layers that a stack knows")
    if mode == "auto" and not pays(network, trial.batch, torch.device(trial.device).type):
        return Way(Sharing.ALONE, "its network is large")
    return Way(*audit(trial.optimizer, next(iter(dtypes))))


def pays(network: nn.Module, batch: int, device_type: str) -> bool:
    """Whether a stack of this network is faster than one trial after another."""
    numbers = sum(p.numel() for p in network.parameters()) * batch
    return device_type != "cpu" or numbers <= CPU_NUMBERS
