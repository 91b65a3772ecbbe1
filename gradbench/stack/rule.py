"""Which way a trial takes: a function of network, optimizer and device type, never of a timing."""

import copy
from enum import StrEnum

import torch
from torch import nn

from gradbench.optimizers import Factory, resolve
from gradbench.scenario import Batch, Scenario
from gradbench.stack.layers import can_stack, forward
from gradbench.stack.rows import Rows
from gradbench.trial import Trial

CPU_NUMBERS = 15_000_000
"""Most weights times examples of a batch with which a stack pays on a CPU: wider layers fill the
processor by themselves. Measured by `benchmarks/stacking.py cut` at five trials: up to 13 million
it was never slower, at 28 million by chance (docs/speed.md). Part of the protocol."""

ELEMENTWISE = (
    *("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop"),
    *("Rprop", "ASGD"),
)
"""Optimizers of torch.optim of which each number's step depends on that number's own history alone,
to the bit: tests/stack/test_elementwise.py proves it for all of their options."""

TOLERANCE = 1e-6
"""Of a gradient's length, in float64, where gradients may nearly cancel."""


class Sharing(StrEnum):
    """How an optimizer trains many trials of a case."""

    TOGETHER = "together"
    APART = "apart"
    ALONE = "alone"


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
    return sharing(resolve(trial.optimizer))


def sharing(factory: Factory) -> Sharing:
    """Return how an optimizer may train many trials: what is not proven trains each by its own."""
    needs, cls = factory.needs, factory.cls
    if needs.closure or needs.create_graph or needs.fused or needs.modes or needs.model:
        return Sharing.ALONE
    known = any(cls is getattr(torch.optim, name, None) for name in ELEMENTWISE)
    if (known and factory.schedules.known) or needs.elementwise:
        return Sharing.TOGETHER
    return Sharing.APART


def pays(network: nn.Module, batch: int, device_type: str) -> bool:
    """Whether a stack of this network is faster than one trial after another."""
    numbers = sum(p.numel() for p in network.parameters()) * batch
    return device_type != "cpu" or numbers <= CPU_NUMBERS


def agrees(scenario: Scenario, network: nn.Module, batch: Batch) -> bool:
    """Whether a stack of two copies has the gradient that the plain network has on a batch.

    A module that says itself how it works on a stack may say it wrongly.
    """
    dtype = torch.float32 if batch[0].device.type == "mps" else torch.float64
    inputs, labels = (x.to(dtype) if x.is_floating_point() else x for x in batch)
    plain, *copies = (copy.deepcopy(network).to(dtype) for _ in range(3))
    loss = scenario.loss(plain(inputs), labels).mean()
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(plain.parameters()))])
    rows = Rows(copies)
    layer = forward(copies[0], rows.place(slice(0, 2)))
    outputs = layer(inputs.expand(2, *inputs.shape)).flatten(0, 1)  # as a sweep's rows share them
    losses = scenario.loss(outputs, torch.cat([labels, labels]))
    losses.backward(torch.full_like(losses, 1 / len(labels)))
    found = rows.flat(rows.grads)[1]
    return bool((found - wanted).norm() <= TOLERANCE * wanted.norm())
