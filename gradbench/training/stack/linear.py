"""Sequences of linear layers and ReLUs on all rows of a block: forward and backward."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dense:
    """A linear layer of all rows, with the buffers of its gradients."""

    weight: Tensor
    """Shape `(rows, in, out)` where it is stored transposed, else `(rows, out, in)`."""
    weight_grad: Tensor
    transposed: bool
    bias: Tensor | None
    bias_grad: Tensor | None
    relu: bool
    """Whether a ReLU follows."""

    @property
    def one_output(self) -> bool:
        """Whether the layer has one output and its weight is not stored transposed."""
        return self.weight.shape[-2] == 1 and not self.transposed


def chain(layers: list[Dense], x: Tensor, anchor: Tensor) -> Tensor:
    """Apply layers to x one after another; the backward pass writes gradients to their buffers.

    `anchor` requires a gradient but receives none: so autograd runs the backward pass even where x
    requires no gradient.
    """
    out: Tensor = _Chain.apply(x, anchor, layers)
    return out


class _Chain(torch.autograd.Function):
    """All layers as one autograd node, which may overwrite gradients passed between them."""

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
        own = False  # whether `message` may be overwritten
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
    """Write the layer's gradients to their buffers.

    They are not computed in a contiguous temporary tensor: there, a trial's row would decide how
    its numbers are aligned to vector lanes, and so their last bits.
    """
    left, right = (x, message) if layer.transposed else (message, x)
    torch.bmm(left.mT, right, out=layer.weight_grad)
    if layer.bias_grad is not None:
        torch.sum(message, 1, out=layer.bias_grad)


def _last_gradients(layer: Dense, x: Tensor, out: Tensor, message: Tensor, weight: Tensor) -> None:
    """Write the gradients of a layer with a ReLU that feeds a single output.

    The gradient at `out` is message x weight where `out` is positive. That product would be the
    largest tensor; it is not formed, since the weight is multiplied in last. `out` is overwritten.
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
