"""Whether a network's way of working on a stack is its own: a module may say it wrongly."""

import copy

import torch
from torch import nn

from gradbench.scenario import Batch, Scenario
from gradbench.stack.layers import forward
from gradbench.stack.rows import Rows

TOLERANCE = 1e-6
"""Of a gradient's length, in float64, where gradients may nearly cancel."""


def agrees(scenario: Scenario, network: nn.Module, batch: Batch) -> bool:
    """Whether a stack of two copies has the gradient that the plain network has on a batch."""
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
    found = torch.cat([p.grad.flatten() for p in copies[1].parameters() if p.grad is not None])
    return bool((found - wanted).norm() <= TOLERANCE * wanted.norm())
