"""Flatness (section 5): the size of the backward signal at each layer.

The SNR does not separate a hopeless start from a good one: a tiny but consistent gradient has a
perfect SNR. The size of the signal at the first layer, relative to the residual, does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from gradbench.probes.gradients import Loss, derivatives, float64_copy, joined
from gradbench.probes.reading import Z95, Reading, nothing
from gradbench.scenarios.base import Batch

NAME = "gain of the backward message"

Residual = Loss
"""Function of the outputs and labels of n examples that returns the length of each backward
message for a loss without flat activations, shape `(n,)`."""


@dataclass(frozen=True)
class Flatness:
    """Measures of the backward pass of one batch.

    A message is the derivative of an example's loss by the outputs of a layer.

    `zero_gradients`: share of the entries of the mean gradient that are exactly zero.
    `zero_messages`: share of the examples with a message of exactly zero at the network's outputs.
    `gain`: rms over examples of the message at the first layer, over the residual's rms;
    `gain_error` is its standard error over examples.
    `norms`: length of the mean gradient of each parameter.
    `dead`: for each layer, first to last, the share of units with zero message on every example.
    """

    zero_gradients: float
    zero_messages: float
    gain: float
    gain_error: float
    norms: dict[str, float]
    dead: dict[str, float]
    examples: int


def _with_outputs_of(
    layers: dict[str, nn.Module], network: nn.Module, inputs: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the network's outputs, and the outputs of these layers by name."""
    sums: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.requires_grad:
                sums[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in layers.items()]
    outputs: Tensor = network(inputs)
    for handle in handles:
        handle.remove()
    return outputs, sums


def flatness(
    network: nn.Module, loss: Loss, batch: Batch, *, residual: Residual | None = None
) -> Flatness:
    """Measure the backward signal at a network's layers on a batch, by one backward pass.

    `residual` defaults to the length of the loss's derivative by the outputs, which does not show
    flat regions within the loss itself.

    Raises ValueError for a network without a layer that has parameters.
    """
    of = float64_copy(network, loss)
    named = of.network.named_modules()
    layers = {name: module for name, module in named if list(module.parameters(recurse=False))}
    if not layers:
        raise ValueError("the network has no layer with parameters")
    inputs, labels = of.place(batch)
    outputs, sums = _with_outputs_of(layers, of.network, inputs)
    kept = list(sums)
    wanted = [outputs, *sums.values(), *of.tensors]
    grads = derivatives([of.loss(outputs, labels).sum()], wanted)
    at_outputs, messages = grads[0], dict(zip(kept, grads[1:], strict=False))
    own = grads[1 + len(kept) :]
    back = at_outputs.flatten(1)
    sent = back.norm(dim=1) if residual is None else residual(outputs.detach(), labels)
    first = messages[kept[0]].flatten(1) if kept else back
    n = len(inputs)
    norms = ((g / n).norm().item() for g in own)
    gain, gain_error = _ratio(first.square().sum(dim=1).detach(), sent.square())
    return Flatness(
        zero_gradients=(joined(own) == 0).double().mean().item(),
        zero_messages=(back == 0).all(dim=1).double().mean().item(),
        gain=gain,
        gain_error=gain_error,
        norms=dict(zip(dict(of.parameters), norms, strict=True)),
        dead={name: _dead(messages[name]) for name in kept},
        examples=n,
    )


def _ratio(arrived: Tensor, left: Tensor) -> tuple[float, float]:
    """Return the root of the ratio of two means over the examples, and its standard error.

    To first order, the relative error of sqrt(A / B) is half of that of A / B. The ratio is NaN
    where B is 0.
    """
    n, top, bottom = len(arrived), arrived.mean().item(), left.mean().item()
    if bottom <= 0:
        return math.nan, 0.0
    ratio = math.sqrt(top / bottom)
    if top <= 0 or n < 2:
        return ratio, 0.0
    spread = (arrived / top - left / bottom).std().item() / 2
    return ratio, ratio * spread / math.sqrt(n)


def _dead(message: Tensor) -> float:
    """Return the share of units (features or channels) with zero message on every example."""
    units = message.transpose(0, 1).flatten(1) if message.ndim > 1 else message[None]
    return (units == 0).all(dim=1).double().mean().item()


def gain(
    network: nn.Module, loss: Loss, batch: Batch, *, residual: Residual | None = None
) -> Reading:
    """Return the gain of the backward message, with its error over examples.

    The reading has no value where the residual is zero or no layer has parameters.
    """
    try:
        found = flatness(network, loss, batch, residual=residual)
    except ValueError as error:
        return nothing(NAME, str(error))
    if not math.isfinite(found.gain):
        return nothing(NAME, "the residual is zero")
    dead = ", ".join(f"{share:.0%}" for share in found.dead.values())
    note = f"zero gradients {found.zero_gradients:.1%}; dead units by layer {dead}"
    # a gain that is exactly zero is known, not unresolved
    resolved = found.gain == 0 or found.gain > Z95 * found.gain_error
    return Reading(NAME, found.gain, found.gain_error, resolved, note, found.examples, "backward")
