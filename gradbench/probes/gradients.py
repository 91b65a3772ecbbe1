"""Gradients of a network's per-example loss, computed on a float64 copy.

One file: every function works on the same copy.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradbench.scenarios.base import Batch

Loss = Callable[[Tensor, Tensor], Tensor]
"""Function of the outputs and labels of n examples that returns their losses, shape `(n,)`."""

ROWWISE = (nn.Linear, nn.ReLU, nn.Sigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU)
"""Modules that process each example independently; only the dense layer has parameters."""

CHUNK = 2**22
"""Most entries of per-example gradients in memory at once, if only their norms are needed."""


@dataclass(frozen=True)
class NetworkCopy:
    """A float64 copy of a network, with its loss and the parameters to differentiate by.

    The copy of a network on a device without float64 is on the CPU. `parameters` are pairs of name
    and parameter: all that require a gradient, or those selected by a prefix of their names.
    """

    network: nn.Module
    loss: Loss
    parameters: tuple[tuple[str, nn.Parameter], ...]

    @property
    def tensors(self) -> list[nn.Parameter]:
        """The parameters without their names."""
        return [parameter for _, parameter in self.parameters]

    def place(self, batch: Batch) -> Batch:
        """Return a batch on the copy's device, floating-point numbers in float64."""
        device = self.tensors[0].device
        inputs, labels = (
            t.to(device, torch.float64) if t.is_floating_point() else t.to(device) for t in batch
        )
        return inputs, labels

    def losses(self, batch: Batch) -> Tensor:
        """Return each example's loss, shape `(n,)`."""
        inputs, labels = self.place(batch)
        return self.loss(self.network(inputs), labels)

    def output(self, index: int) -> "NetworkCopy":
        """Return the same copy with one of its outputs as the loss; labels are ignored."""
        return NetworkCopy(self.network, lambda p, _: p.flatten(1)[:, index], self.parameters)

    def gradient(self, batch: Batch) -> Tensor:
        """Return the gradient of the batch's mean loss, flat, shape `(P,)`."""
        return self.flat(self.losses(batch).mean())

    def flat(self, value: Tensor, *, retain: bool = False) -> Tensor:
        """Return a scalar's gradient, flat; zero where it does not depend on a parameter."""
        return joined(derivatives([value], self.tensors, retain=retain))

    def jacobian(self, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the function v -> J v; v has shape `(P,)`, the result that of the outputs.

        It uses two reverse passes, which any network supports: J^T u is linear in u, and its
        derivative by u, applied to v, is J v.
        """
        dummy = torch.zeros_like(outputs, requires_grad=True)
        back = derivatives([outputs], self.tensors, [dummy], create=True)
        used = [i for i, b in enumerate(back) if b.requires_grad]

        def product(v: Tensor) -> Tensor:
            parts = v.split([p.numel() for p in self.tensors])
            of, vectors = [back[i] for i in used], [parts[i].view_as(back[i]) for i in used]
            return derivatives(of, [dummy], vectors, retain=True)[0]

        return product


def derivatives(
    of: Sequence[Tensor],
    by: Sequence[Tensor],
    vectors: Sequence[Tensor] | None = None,
    *,
    retain: bool = False,
    create: bool = False,
) -> list[Tensor]:
    """Return the derivatives of `of`, weighted by `vectors`, by each tensor of `by`.

    They are zero for a tensor on which nothing in `of` depends.
    """
    live = [i for i, t in enumerate(of) if t.requires_grad]
    if not live:
        return [torch.zeros_like(t) for t in by]
    found: Sequence[Tensor | None] = torch.autograd.grad(
        [of[i] for i in live],
        by,
        None if vectors is None else [vectors[i] for i in live],
        retain_graph=retain or create,
        create_graph=create,
        allow_unused=True,
    )
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, by, strict=True)]


def joined(tensors: Iterable[Tensor]) -> Tensor:
    """Return the tensors flattened and concatenated."""
    return torch.cat([t.flatten() for t in tensors])


def float64_copy(network: nn.Module, loss: Loss, prefix: str = "") -> NetworkCopy:
    """Return a float64 copy of a network; `prefix` selects parameters by the start of their names.

    Raises ValueError where no parameter is left, and for batch norm in training mode or without
    running statistics: an example then has no gradient of its own.
    """
    for module in network.modules():
        batched = isinstance(module, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001
        if batched and (module.training or module.running_mean is None):
            raise ValueError(
                f"{type(module).__name__} in training mode mixes examples: call network.eval() "
                "where it tracks statistics, or take LayerNorm or GroupNorm in its place"
            )
    copied = copy.deepcopy(network)
    if "mps" in {str(p.device.type) for p in copied.parameters()}:  # has no float64
        copied = copied.cpu()
    copied = copied.double()
    for module in copied.modules():
        if getattr(module, "inplace", False):  # else overwrites outputs kept by hooks
            module.inplace = False  # type: ignore[assignment]
    named = tuple(
        (n, p) for n, p in copied.named_parameters() if n.startswith(prefix) and p.requires_grad
    )
    if not named:
        raise ValueError(f"the network has no parameter whose name begins with {prefix!r}")
    copied.forward = _plain(copied.forward)
    return NetworkCopy(copied, _checked(loss), named)


def _plain(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a network's forward pass with attention kernels that have a second derivative.

    Torch's fused attention kernels have none. The returned function raises TypeError where the
    outputs are not one tensor, ValueError where they have fewer than two dimensions.
    """

    def plain(*inputs: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            outputs = forward(*inputs)
        if not isinstance(outputs, Tensor):
            kind = type(outputs).__name__
            raise TypeError(f"probes need outputs in one tensor, shape (n, k), not a {kind}")
        if outputs.ndim < 2:
            raise ValueError("probes need outputs of shape (n, k): return (n, 1), not (n,)")
        return outputs

    return plain


def _checked(loss: Loss) -> Loss:
    """Return the loss with a check of its shape.

    The returned function raises ValueError where the loss is reduced or broadcast, so that it
    does not have one value per example.
    """

    def one_each(outputs: Tensor, labels: Tensor) -> Tensor:
        found = loss(outputs, labels)
        if found.shape != (len(outputs),):
            raise ValueError(
                f"the loss returns one value per example, shape ({len(outputs)},), "
                f"not {tuple(found.shape)}"
            )
        return found

    return one_each


def each_gradient(of: NetworkCopy, batch: Batch) -> tuple[Tensor, str]:
    """Return the gradient of every example's loss, shape `(n, P)`, and the path taken.

    The gradients are computed by vmap. Where vmap fails (random modules, in-place writes), each
    example gets its own backward pass through one forward pass of the batch ("loop").
    """
    inputs, labels = of.place(batch)
    try:
        return _vmapped(of, inputs, labels), "vmap"
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        losses = of.loss(of.network(inputs), labels)
        rows = [of.flat(value, retain=True) for value in losses]
        return torch.stack(rows), "loop"


def _vmapped(of: NetworkCopy, inputs: Tensor, labels: Tensor) -> Tensor:
    chosen: dict[str, Tensor] = dict(of.parameters)
    fixed: dict[str, Tensor] = {n: t for n, t in of.network.named_parameters() if n not in chosen}
    fixed |= dict(of.network.named_buffers())

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        outputs = functional_call(of.network, {**fixed, **parameters}, (x[None],))
        return of.loss(outputs, y[None])[0]

    found = vmap(grad(loss), in_dims=(None, 0, 0))(
        {n: p.detach() for n, p in chosen.items()}, inputs, labels
    )
    return torch.cat([found[name].detach().flatten(1) for name in chosen], dim=1)


def squared_norms(of: NetworkCopy, batch: Batch) -> tuple[Tensor, str]:
    """Return the squared norm of every example's gradient, shape `(n,)`, and the path taken.

    A network of dense layers and activations needs one backward pass: an example's gradient of a
    layer is the outer product of the layer's message and its input, so its length is the product
    of their lengths ("layers"; I. Goodfellow, arXiv:1510.01799). Other networks use per-example
    gradients, a few examples at a time.
    """
    shared = len({id(p) for p in _all(of.network)}) < len(_all(of.network))
    if _rowwise(of.network) and batch[0].ndim == 2 and not shared:
        return _by_layers(of, batch), "layers"
    size = max(1, CHUNK // sum(p.numel() for p in of.tensors))
    parts, paths = [], set()
    for chunk in _chunks(batch, size):
        rows, path = each_gradient(of, chunk)
        parts.append(rows.square().sum(dim=1))
        paths.add(path)
    return torch.cat(parts), "+".join(sorted(paths))


def _all(network: nn.Module) -> list[nn.Parameter]:
    """Return every module's own parameters; a shared one is repeated for each of its modules."""
    return [p for module in network.modules() for p in module.parameters(recurse=False)]


def _rowwise(network: nn.Module) -> bool:
    """Return whether a network is a sequence of dense layers and activations, each used once."""
    if isinstance(network, nn.Sequential):
        parts = list(network)
        return len({id(part) for part in parts}) == len(parts) and all(map(_rowwise, parts))
    return type(network) in ROWWISE


def _by_layers(of: NetworkCopy, batch: Batch) -> Tensor:
    inputs, labels = of.place(batch)
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...], sums: Tensor) -> None:
        seen.append((module, given[0].detach(), sums))

    layers = [module for module in of.network.modules() if isinstance(module, nn.Linear)]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    losses = of.loss(of.network(inputs), labels)
    for handle in handles:
        handle.remove()
    messages = derivatives([losses.sum()], [sums for _, _, sums in seen])
    chosen = {id(p) for p in of.tensors}
    total = torch.zeros(len(inputs), dtype=torch.float64, device=inputs.device)
    for (layer, given, _), message in zip(seen, messages, strict=True):
        length = message.flatten(1).square().sum(dim=1)
        for p in layer.parameters():
            if id(p) in chosen:
                total += length * (given.square().sum(dim=1) if p.ndim == 2 else 1.0)
    return total


def _chunks(batch: Batch, size: int) -> Iterable[Batch]:
    return zip(batch[0].split(size), batch[1].split(size), strict=True)
