"""Flatness (section 5): whether the message comes back at all.

No single number tells a hopeless start from a good one: a tiny but consistent gradient has a
perfect SNR. What tells is how much of the residual arrives at the first layer.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradbench.probes.gradients import Loss, derivatives, joined, twin
from gradbench.probes.reading import Reading, nothing
from gradbench.scenario import Batch

NAME = "gain of the backward message"

Residual = Loss
"""Outputs and labels of n examples to what each would send back were nothing flat, `(n,)`."""


@dataclass(frozen=True)
class Flatness:
    """What comes back on a batch.

    `zero_gradients`: share of the entries of the mean gradient that are exactly zero.
    `zero_messages`: share of the examples whose loss does not depend on the outputs at all.
    `gain`: rms over examples of the message at the first layer's sums, over the residual's rms.
    `norms`: length of the mean gradient per parameter. `dead`: share of the first to the last
    layers' units that no example moves, per layer.
    """

    zero_gradients: float
    zero_messages: float
    gain: float
    norms: dict[str, float]
    dead: dict[str, float]
    examples: int


def flatness(
    network: nn.Module, loss: Loss, batch: Batch, *, residual: Residual | None = None
) -> Flatness:
    """Measure what comes back through a network's layers on a batch, by one backward pass.

    `residual` defaults to the length of the loss's derivative by the outputs, which misses what
    the loss itself flattens.

    Raises ValueError for a network without a layer that has parameters.
    """
    of = twin(network, loss)
    named = of.network.named_modules()
    layers = {name: module for name, module in named if list(module.parameters(recurse=False))}
    if not layers:
        raise ValueError("the network has no layer with parameters")
    sums: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.requires_grad:
                sums[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in layers.items()]
    inputs, labels = of.place(batch)
    outputs = of.network(inputs)
    for handle in handles:
        handle.remove()
    kept = list(sums)
    wanted = [outputs, *(sums[name] for name in kept), *of.tensors]
    grads = derivatives([of.loss(outputs, labels).sum()], wanted)
    at_outputs, messages = grads[0], dict(zip(kept, grads[1:], strict=False))
    own = grads[1 + len(kept) :]
    back = at_outputs.flatten(1)
    sent = back.norm(dim=1) if residual is None else residual(outputs.detach(), labels)
    first = messages[kept[0]].flatten(1) if kept else back
    n = len(inputs)
    arrived = first.square().sum().item() / n
    left = sent.square().mean().item()
    return Flatness(
        zero_gradients=(joined(own) == 0).double().mean().item(),
        zero_messages=(back == 0).all(dim=1).double().mean().item(),
        gain=math.sqrt(arrived / left) if left > 0 else math.nan,
        norms={
            name: (g / n).norm().item() for (name, _), g in zip(of.parameters, own, strict=True)
        },
        dead={name: _dead(messages[name]) for name in kept},
        examples=n,
    )


def _dead(message: Tensor) -> float:
    """Return the share of a layer's units (features or channels) that no example moves."""
    units = message.transpose(0, 1).flatten(1) if message.ndim > 1 else message[None]
    return (units == 0).all(dim=1).double().mean().item()


def gain(
    network: nn.Module, loss: Loss, batch: Batch, *, residual: Residual | None = None
) -> Reading:
    """Return the gain of the backward message; its error is that over examples, by quarters."""
    try:
        whole = flatness(network, loss, batch, residual=residual)
        pieces = zip(batch[0].tensor_split(4), batch[1].tensor_split(4), strict=True)
        quarters = [
            flatness(network, loss, piece, residual=residual).gain
            for piece in pieces
            if len(piece[0])
        ]
    except ValueError as error:
        return nothing(NAME, str(error))
    if not math.isfinite(whole.gain):
        return nothing(NAME, "the residual is zero")
    spread = torch.tensor(quarters).std().item() / 2
    dead = ", ".join(f"{share:.0%}" for share in whole.dead.values())
    note = f"zero gradients {whole.zero_gradients:.1%}; dead units by layer {dead}"
    off = spread if math.isfinite(spread) else 0.0
    # a gain that is exactly zero is known, not unresolved
    resolved = whole.gain == 0 or whole.gain > 2 * off
    return Reading(NAME, whole.gain, off, resolved, note, 2 * whole.examples, "backward")
