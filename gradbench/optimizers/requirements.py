"""What an optimizer requires of the training loop, and how it is built from a network."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

MATRICES = "use_muon"
"""The key of parameter groups by which Muon and its kin tell matrices from the rest."""

Build = Callable[..., Optimizer]
Split = str | tuple[str, Any, Any]
"""A key of parameter groups: True for matrices and False for the rest, or what it is for either."""


class RefusedError(ValueError):
    """The optimizer is not for these parameters; the message says why."""


@dataclass(frozen=True)
class Requirements:
    """What an optimizer asks of the training loop beyond gradients and `step()`."""

    closure: bool = False
    """`step` must be given a closure that re-evaluates the loss on the step's batch."""
    closure_name: str = ""
    """The keyword by which `step` takes the closure, where it does not take it by position."""
    forward_closure: bool = False
    """That closure only returns the loss: the optimizer goes backward by itself."""
    gradients_first: bool = False
    """Gradients must exist before `step(closure)`; they count as an evaluation more."""
    create_graph: bool = False
    """It differentiates the gradients once more."""
    model: bool = False
    """It is built from the network instead of its parameters."""
    named: bool = False
    """It is built from the network's `named_parameters()`."""
    lists: tuple[str, ...] = ()
    """Two arguments of the constructor: the hidden matrices, and the other parameters."""
    groups: Split = ""
    """It is built from two parameter groups, told apart by this key: matrices but for the last,
    and the rest."""
    matrices: bool = False
    """It steps on matrices only, so it suits networks that have nothing else."""
    steps: str = ""
    """The constructor's argument that takes the number of training steps."""
    epochs: str = ""
    """The one that takes the number of epochs: a trial is one."""
    batches: str = ""
    """The one that takes the number of batches in an epoch."""
    examples: str = ""
    """The constructor's argument that takes the number of training examples."""
    modes: bool = False
    """Its `train()` and `eval()` are called around training and evaluation."""
    fused: bool = False
    """`fused_backward(loss, rate)` takes the place of backward and step."""
    elementwise: bool | None = None
    """Each number's step depends on that number's own history alone, so that one optimizer can
    train many networks; only a class that says so, or that gradbench has proven so, does."""

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
    """Return the hidden matrices, and the rest with the last of several matrices.

    The output layer is no hidden matrix; a network of one matrix has no other.
    Source: K. Jordan, Muon (2024), https://kellerjordan.github.io/posts/muon/.
    """
    every = list(parameters)
    matrices = [p for p in every if p.ndim >= 2]
    hidden = {id(p) for p in (matrices[:-1] or matrices)}
    return [p for p in every if id(p) in hidden], [p for p in every if id(p) not in hidden]


def grouped(parameters: Iterable[Tensor], key: Split) -> list[dict[str, Any]]:
    """Return two parameter groups, of hidden matrices and of the rest; one, where one is empty."""
    name, *values = (key, True, False) if isinstance(key, str) else key
    parts = zip(split(parameters), values, strict=True)
    return [{"params": part, name: value} for part, value in parts if part]


def declared(cls: type[Optimizer]) -> Requirements | None:
    """Return what the class says of itself, None where it says nothing.

    Raises ValueError, with what may be said, where it says anything else.
    """
    said = getattr(cls, "gradbench_needs", None)
    if said is None:
        return None
    try:
        return Requirements(**said)
    except TypeError:
        names = ", ".join(field.name for field in fields(Requirements))
        raise ValueError(f"gradbench_needs of {cls.__name__} may hold: {names}") from None
