"""The forward pass of a stack: each layer on all rows of a block at once."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gradbench.training.stack.linear import Dense, chain

Layer = Callable[[Tensor], Tensor]
Place = Callable[[Tensor], tuple[Tensor, Tensor, bool]]
"""Maps a parameter to its values in all rows, their gradient buffer, and whether both are stored
transposed."""

POINTWISE = {nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Identity, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.ELU}
"""Elementwise modules, for which a further leading dimension makes no difference."""


@runtime_checkable
class Stackable(Protocol):
    """Protocol of modules that define their own forward pass on a stack."""

    def stacked(
        self, inputs: Tensor, weights: dict[str, Tensor], parts: dict[str, Layer]
    ) -> Tensor:
        """Return `forward` for inputs with a leading dimension of trials.

        `weights` holds the module's own parameters with that dimension, `parts` its children. The
        inputs may be a view that all trials share, so they must not be written to.
        """


def can_stack(network: nn.Module) -> bool:
    """Return whether a stack supports all layers, and all parameters are trainable and unshared."""
    parameters = list(network.parameters())
    named = network.named_modules(remove_duplicate=False)
    every = [p for _, module in named for p in module.parameters(recurse=False)]
    return (
        bool(parameters)
        and len(every) == len(parameters)  # none is shared between two modules
        and all(p.requires_grad for p in parameters)
        and _known(network)
    )


def _known(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)  # noqa: SLF001
    if any(hooks):
        return False
    if type(module) in POINTWISE:  # in place would overwrite saved tensors
        return type(module) is nn.ReLU or not getattr(module, "inplace", False)
    if type(module) is nn.Linear or convolves(module):
        return True
    if type(module) is nn.Sequential or isinstance(module, Stackable):
        return all(map(_known, module.children()))
    return _reshapes(module) or (type(module) is nn.MaxPool2d and not module.return_indices)


def convolves(module: nn.Module) -> bool:
    """Return whether a module is a convolution of torch's or gradbench's."""
    own = type(module).__module__.startswith("gradbench.")
    return type(module) is nn.Conv2d or (own and isinstance(module, nn.Conv2d))


def _reshapes(module: nn.Module) -> bool:
    if type(module) is nn.Flatten:
        return (module.start_dim, module.end_dim) == (1, -1)
    return type(module) is nn.Unflatten and module.dim == 1


def forward(network: nn.Module, place: Place) -> Layer:
    """Return the network's forward pass on a block: inputs `(rows, n, ...)` to `(rows, n, k)`.

    Its backward pass overwrites each parameter's gradient buffer.
    """
    device = next(network.parameters()).device
    anchor = torch.zeros((), device=device, requires_grad=True)
    return _layer(network, place, anchor)


def _layer(module: nn.Module, place: Place, anchor: Tensor) -> Layer:
    if type(module) is nn.Sequential:
        return _chain(module, place, anchor)
    if type(module) is nn.Linear:
        return _dense([_linear(module, place, relu=False)], anchor)
    if convolves(module):
        return _convolution(module, place, anchor)
    if isinstance(module, Stackable):
        return _own(module, place, anchor)
    made = WITHOUT_PARAMETERS.get(type(module))
    return made(module) if made else module


def _chain(modules: nn.Sequential, place: Place, anchor: Tensor) -> Layer:
    layers: list[Layer] = []
    dense: list[Dense] = []
    waiting = list(modules.children())
    while waiting:
        module = waiting.pop(0)
        if type(module) is nn.Sequential:
            waiting = [*module.children(), *waiting]
            continue
        if type(module) is nn.Linear:
            relu = bool(waiting) and type(waiting[0]) is nn.ReLU
            waiting = waiting[relu:]
            dense.append(_linear(module, place, relu=relu))
            continue
        if dense:
            layers.append(_dense(dense, anchor))
            dense = []
        layers.append(_layer(module, place, anchor))
    if dense:
        layers.append(_dense(dense, anchor))

    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return run


def _own(module: Any, place: Place, anchor: Tensor) -> Layer:  # noqa: ANN401
    parts = {name: _layer(child, place, anchor) for name, child in module.named_children()}
    places = {name: place(p) for name, p in module.named_parameters(recurse=False)}

    def run(x: Tensor) -> Tensor:
        weights = {name: _Weight.apply(anchor, at) for name, at in places.items()}
        out: Tensor = module.stacked(x, weights, parts)
        return out

    return run


WITHOUT_PARAMETERS: dict[type[nn.Module], Callable[[Any], Layer]] = {
    nn.ReLU: lambda _: torch.relu,  # never in place: the layer before has saved this tensor
    nn.Flatten: lambda _: lambda x: x.flatten(2),
    nn.Unflatten: lambda module: lambda x: x.unflatten(2, module.unflattened_size),
    nn.MaxPool2d: lambda module: lambda x: module(x.flatten(0, 1)).unflatten(0, x.shape[:2]),
}
"""Functions of a block in place of modules that treat the second dimension as the first."""


def _convolution(module: nn.Module, place: Place, anchor: Tensor) -> Layer:
    """Return a convolution of one row after another: one of all rows in groups is slower.

    So each row has the bits of a trial that is trained apart.
    """
    places = {name: place(p) for name, p in module.named_parameters()}

    def run(x: Tensor) -> Tensor:
        weights = {name: _Weight.apply(anchor, at) for name, at in places.items()}
        each = [
            functional_call(module, {name: weight[row] for name, weight in weights.items()}, images)
            for row, images in enumerate(x.unbind())
        ]
        return torch.stack(each)

    return run


def _dense(layers: list[Dense], anchor: Tensor) -> Layer:
    return lambda x: chain(layers, x, anchor)


def _linear(module: nn.Linear, place: Place, *, relu: bool) -> Dense:
    weight, weight_grad, transposed = place(module.weight)
    bias, bias_grad = None, None
    if module.bias is not None:
        bias, bias_grad, _ = place(module.bias)
    return Dense(weight, weight_grad, transposed, bias, bias_grad, relu)


class _Weight(torch.autograd.Function):
    """A parameter of all rows; `backward` writes its gradient to the gradient buffer."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, at: tuple[Tensor, Tensor, bool]) -> Tensor:  # noqa: ANN401, ARG004
        value, ctx.grad, transposed = at
        ctx.transposed = transposed
        return value.mT.detach() if transposed else value.detach()

    @staticmethod
    def backward(ctx: Any, message: Tensor) -> tuple[None, None]:  # noqa: ANN401
        ctx.grad.copy_(message.mT if ctx.transposed else message)
        return None, None
