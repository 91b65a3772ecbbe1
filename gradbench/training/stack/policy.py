"""Chooses the execution path of a trial from network, optimizer and device type."""

import copy

import torch
from torch import nn

from gradbench.optimizers.factory import Factory, resolve
from gradbench.scenarios.base import Batch, Scenario
from gradbench.training.stack.layers import can_stack, convolves, forward
from gradbench.training.stack.parameters import StackedParameters
from gradbench.training.trial import Trial

CPU_NUMBERS = 15_000_000
"""Most weights times examples of a batch with which a stack is used on a CPU. Wider layers use the
whole processor without a stack. Measured by `benchmarks/stacking.py cut` at five trials: up to 13
million it was never slower, at 28 million by chance (docs/speed.md). Part of the protocol."""

ELEMENTWISE = (
    *("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop"),
    *("Rprop", "ASGD"),
)
"""Elementwise optimizers of torch.optim: an element's step depends on that element's history alone,
to the bit: tests/training/stack/test_elementwise.py proves it for all of their options."""

TOLERANCE = 1e-6
"""Largest difference in `agrees`, in float64, relative to the norm; terms of a gradient may
nearly cancel."""


def stacks(trial: Trial, network: nn.Module, mode: str) -> bool:
    """Return whether trials with a network built like this one are trained as a stack.

    `mode` is `on` (wherever possible), `off`, or another (where a stack is faster).
    """
    if mode == "off" or trial.optimizer is None:
        return False
    dtypes = {p.dtype for p in network.parameters()}
    if not can_stack(network) or dtypes - {torch.float32, torch.float64}:
        return False
    if mode != "on" and not pays(network, trial.batch, torch.device(trial.device).type):
        return False
    return elementwise(resolve(trial.optimizer))


def elementwise(factory: Factory) -> bool:
    """Return whether the optimizer is elementwise, so that one instance may train many trials.

    Its class must be in `ELEMENTWISE` or declare this, and need nothing that a stack lacks. Others
    train one trial at a time, as in their author's own loop: an optimizer per trial on a stack was
    only 1.07 times as fast over ten cases, and sign updates already differed in the first step,
    where a sum of gradients is zero except for rounding.
    """
    requirements = factory.requirements
    more = (
        requirements.closure
        or requirements.create_graph
        or requirements.fused
        or requirements.modes
    )
    if (
        more
        or requirements.model
        or requirements.named
        or requirements.groups
        or requirements.lists
    ):
        return False
    known = any(factory.cls is getattr(torch.optim, name, None) for name in ELEMENTWISE)
    return (known or bool(requirements.elementwise)) and factory.schedules.known


def is_torchs(factory: Factory) -> bool:
    """Return whether the class is from torch.optim: stacks with these are proven to be correct."""
    return factory.cls.__module__.startswith("torch.optim.")


def pays(network: nn.Module, batch: int, device_type: str) -> bool:
    """Return whether a stack of this network is faster than one trial after another.

    A CPU convolves one row after another in either case.
    """
    if device_type != "cpu":
        return True
    numbers = sum(p.numel() for p in network.parameters()) * batch
    return numbers <= CPU_NUMBERS and not any(map(convolves, network.modules()))


def agrees(scenario: Scenario, network: nn.Module, batch: Batch) -> bool:
    """Return whether a stack of two copies of a network has the network's own gradient on a batch.

    It detects modules with a wrong `stacked` method.
    """
    dtype = torch.float32 if batch[0].device.type == "mps" else torch.float64
    inputs, labels = (x.to(dtype) if x.is_floating_point() else x for x in batch)
    plain, *copies = (copy.deepcopy(network).to(dtype) for _ in range(3))
    loss = scenario.loss(plain(inputs), labels).mean()
    wanted = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(plain.parameters()))])
    rows = StackedParameters(copies)
    layer = forward(copies[0], rows.place(slice(0, 2)))
    outputs = layer(inputs.expand(2, *inputs.shape)).flatten(0, 1)  # shared, as in a sweep
    losses = scenario.loss(outputs, torch.cat([labels, labels]))
    losses.backward(torch.full_like(losses, 1 / len(labels)))
    found = rows.flat(rows.grads)[1]
    return bool((found - wanted).norm() <= TOLERANCE * wanted.norm())
