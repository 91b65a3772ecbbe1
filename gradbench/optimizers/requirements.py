"""What an optimizer requires of the training loop, and how it is built from a network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

MATRICES = "use_muon"
"""The parameter-group key by which Muon and similar optimizers mark matrices."""

Build = Callable[..., Optimizer]
Split = str | tuple[str, Any, Any]
"""A key of parameter groups, True for matrices and False for the rest; or the key with its values
for matrices and for the rest."""


class RefusedError(ValueError):
    """The optimizer does not support these parameters; the message says why."""


@dataclass(frozen=True)
class Requirements:
    """Requirements of an optimizer for construction and steps, beyond gradients and `step()`."""

    closure: bool = False
    """`step` must be given a closure that re-evaluates the loss on the step's batch."""
    closure_name: str = ""
    """The keyword by which `step` takes the closure, where it does not take it by position."""
    loss_value: bool = False
    """`step` is given the value that the closure returns, a loss with its gradients, and not the
    closure: `step(loss)`."""
    forward_closure: bool = False
    """The closure only returns the loss: the optimizer runs the backward pass."""
    gradients_first: bool = False
    """Gradients must exist before `step(closure)`; computing them counts as an evaluation."""
    create_graph: bool = False
    """Gradients keep their graph, because the optimizer differentiates them again."""
    model: bool = False
    """It is built from the network instead of its parameters."""
    named: bool = False
    """It is built from the network's `named_parameters()`."""
    lists: tuple[str, ...] = ()
    """Two arguments of the constructor: the hidden matrices, and the other parameters."""
    groups: Split = ""
    """It is built from the two parameter groups of `split`, distinguished by this key."""
    matrices: bool = False
    """It steps on matrices only, so it suits networks that have nothing else."""
    steps: str = ""
    """The constructor's argument that takes the number of training steps."""
    epochs: str = ""
    """The constructor's argument that takes the number of epochs: 1 for a trial."""
    batches: str = ""
    """The constructor's argument that takes the number of batches in an epoch."""
    examples: str = ""
    """The constructor's argument that takes the number of training examples."""
    modes: bool = False
    """Its `train()` and `eval()` are called around training and evaluation."""
    fused: bool = False
    """`fused_backward(loss, rate)` replaces the backward pass and `step()`."""
    elementwise: bool | None = None
    """Each parameter element's step depends on that element's history only, so that one optimizer
    can train many networks. The class declares it; torch's proven classes need no declaration."""

    def construct(
        self, build: Build, network: nn.Module, arguments: dict[str, Any], steps: int, examples: int
    ) -> Optimizer:
        """Build the optimizer for a network that trains for `steps` steps on `examples` examples.

        Raises RefusedError where it steps on matrices only and the network has other parameters.
        """
        if self.matrices and any(p.ndim != 2 for p in network.parameters()):
            raise RefusedError("it steps on matrices only, and this network has other parameters")
        counts = {self.steps: steps, self.epochs: 1, self.batches: steps, self.examples: examples}
        more = {name: count for name, count in counts.items() if name} | arguments
        if self.lists:
            hidden, rest = split(network.parameters())
            return build(**dict(zip(self.lists, (hidden, rest), strict=True)), **more)
        first: object = list(network.parameters())
        if self.model:
            first = network
        elif self.named:
            first = list(network.named_parameters())
        elif self.groups:
            first = grouped(network.parameters(), self.groups)
        return build(first, **more)


def split(parameters: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the hidden matrices, and the other parameters.

    A matrix has two or more dimensions. The last of several is the output layer, which is not
    hidden; a single matrix counts as hidden.
    Source: K. Jordan, Muon (2024), https://kellerjordan.github.io/posts/muon/.
    """
    every = list(parameters)
    matrices = [p for p in every if p.ndim >= 2]
    hidden = {id(p) for p in (matrices[:-1] or matrices)}
    return [p for p in every if id(p) in hidden], [p for p in every if id(p) not in hidden]


def grouped(parameters: Iterable[Tensor], key: Split) -> list[dict[str, Any]]:
    """Return the parameter groups of hidden matrices and of the rest, without empty groups."""
    name, *values = (key, True, False) if isinstance(key, str) else key
    parts = zip(split(parameters), values, strict=True)
    return [{"params": part, name: value} for part, value in parts if part]


def declared(cls: type[Optimizer]) -> Requirements | None:
    """Return the requirements that a class declares in `gradbench_needs`; None without it.

    Raises ValueError, with the valid names, where the declaration has others.
    """
    said = getattr(cls, "gradbench_needs", None)
    if said is None:
        return None
    try:
        return Requirements(**said)
    except TypeError:
        names = ", ".join(field.name for field in fields(Requirements))
        raise ValueError(f"gradbench_needs of {cls.__name__} may hold: {names}") from None
