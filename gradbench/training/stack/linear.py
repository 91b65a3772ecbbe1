"""Sequences of linear layers and ReLUs on all rows of a block: forward and backward."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dense:
    """A linear layer of all rows, with the places of its gradients."""

    weight: Tensor
    """Shape `(rows, in, out)` where it lies transposed, else `(rows, out, in)`."""
    weight_grad: Tensor
    transposed: bool
    bias: Tensor | None
    bias_grad: Tensor | None
    relu: bool
    """Whether a ReLU follows."""

    @property
    def one_output(self) -> bool:
        """Whether the layer has one output, and lies as it is."""
        return self.weight.shape[-2] == 1 and not self.transposed


def chain(layers: list[Dense], x: Tensor, anchor: Tensor) -> Tensor:
    """Return what layers make of x one after another; gradients go straight into their places.

    `anchor` requires a gradient and gets none: it has autograd come by, whatever x is.
    """
    out: Tensor = _Chain.apply(x, anchor, layers)
    return out


class _Chain(torch.autograd.Function):
    """One step of the graph, so that what its layers pass back is its own to overwrite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, layers: list[Dense]) -> Tensor:  # noqa: ANN401, ARG004
        kept = [x]
        for layer in layers:
            x = torch.bmm(x, layer.weight if layer.transposed else layer.weight.mT)
            if layer.bias is not None:
                x += layer.bias[:, None]
            if layer.relu:
                x.relu_()
            kept.append(x)
        ctx.layers = layers
        ctx.save_for_backward(*kept)
        return x

    @staticmethod
    def backward(ctx: Any, message: Tensor) -> tuple[Tensor | None, None, None]:  # noqa: ANN401
        *inputs, out = ctx.saved_tensors
        layers, ends = ctx.layers, not ctx.needs_input_grad[0]
        own = False  # whether the message is the chain's to overwrite
        for index in reversed(range(len(layers))):
            layer, x = layers[index], inputs[index]
            if layer.relu:
                message = _through_relu(message, out, own=own)
            _gradients(layer, x, message)
            if ends and index == 0:
                break
            if ends and index == 1 and layers[0].relu and layer.one_output:
                _last_gradients(layers[0], inputs[0], x, message, layer.weight)
                break
            message, out, own = _back(layer, message), x, True
        return None if ends else message, None, None


def _through_relu(message: Tensor, out: Tensor, *, own: bool) -> Tensor:
    into = {"grad_input": message} if own else {}
    through: Tensor = torch.ops.aten.threshold_backward(message, out, 0, **into)
    return through


def _gradients(layer: Dense, x: Tensor, message: Tensor) -> None:
    """Put the layer's gradients into their places.

    At once, not by way of a tensor without gaps: in one, a trial's place decides where its numbers
    begin between two lanes, and with it their last bits.
    """
    left, right = (x, message) if layer.transposed else (message, x)
    torch.bmm(left.mT, right, out=layer.weight_grad)
    if layer.bias_grad is not None:
        torch.sum(message, 1, out=layer.bias_grad)


def _last_gradients(layer: Dense, x: Tensor, out: Tensor, message: Tensor, weight: Tensor) -> None:
    """Put the gradients of a layer with a ReLU in front of a single output into their places.

    What comes back to it is message x weight where `out` is positive. So the largest tensor, that
    product, need not be made: the weight comes in afterwards. `out` is overwritten.
    """
    active = out.sign_()
    left, right = (x * message, active) if layer.transposed else (active, x * message)
    torch.bmm(left.mT, right, out=layer.weight_grad)
    layer.weight_grad.mul_(weight if layer.transposed else weight.mT)
    if layer.bias_grad is not None:
        torch.bmm(message.mT, active, out=layer.bias_grad[:, None])
        layer.bias_grad.mul_(weight[:, 0])


def _back(layer: Dense, message: Tensor) -> Tensor:
    if layer.one_output:
        return message * layer.weight  # cheaper than a product of matrices
    return torch.bmm(message, layer.weight.mT if layer.transposed else layer.weight)
