"""`Scenario`, the base class of learning problems; its fields are the axes of difficulty."""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gradbench.scenarios.draws import Draws

Target = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]
"""Inputs and labels; the first dimension of each counts the examples."""

Factory = Callable[..., nn.Module]

EVALUATION_NUMBERS = 150_000
"""Size of the widest activation when evaluating: larger ones are given back to the system at every
free, and much smaller ones cost more calls than arithmetic."""


@runtime_checkable
class Learner(Protocol):
    """A network that learns by itself: what an approach that takes no optimizer builds."""

    def learn(self, inputs: Tensor, labels: Tensor) -> None:
        """Learn from one batch."""


@dataclass(frozen=True)
class Scenario(ABC):
    """A learning problem in the frame of the paper's eq. 1: F_h(w) = E_x[loss(p_w(x), h(x))].

    Subclasses are frozen dataclasses whose fields are the axes of difficulty, and `approach` where
    the paper compares several. Everything random is drawn from the `Draws` that are passed in, on
    their device, in torch's default floating-point type. Where libraries may round otherwise (a
    sum, a cosine), compute in float64 and round once: the problem is then the same everywhere.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    """One of uninformative, decomposition, conditioning, flatness."""
    section: ClassVar[str]
    claim: ClassVar[str]
    """What the paper says will happen, in one sentence."""
    chance: ClassVar[float]
    """Expected score of the best constant or random answer."""
    best: ClassVar[float]
    """Best attainable expected score."""
    ladder: ClassVar[tuple[str, ...]] = ()
    """The fields of which a larger value is harder, all else equal."""

    @property
    def setting(self) -> dict[str, Any]:
        """The axes' values, without the approach: what decides targets and data."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "approach"}

    def __init_subclass__(cls) -> None:
        """Let a `network` that draws nothing be written without `draws`."""
        super().__init_subclass__()
        plain: Callable[..., nn.Module] | None = vars(cls).get("network")
        if inspect.isfunction(plain) and len(inspect.signature(plain).parameters) == 1:

            @functools.wraps(plain)
            def network(self: Scenario, draws: Draws | None = None) -> nn.Module:  # noqa: ARG001
                made: nn.Module = plain(self)
                return made

            cls.network = network  # type: ignore[method-assign]

    @property
    def published(self) -> str | None:
        """Spec of the optimizer that the paper trained with; None where it trained nothing."""
        return None

    @abstractmethod
    def draw_target(self, draws: Draws) -> Target:
        """Draw a target h from the family, as named tensors."""

    def describe(self, target: Target) -> dict[str, Any]:
        """Return the target as plain data for the record."""
        return {name: value.tolist() for name, value in target.items()}

    @abstractmethod
    def sample(self, target: Target, n: int, draws: Draws) -> Batch:
        """Draw n examples."""

    @abstractmethod
    def held_out(self, target: Target, draws: Draws) -> Batch:
        """Return the fixed examples on which every look evaluates."""

    @abstractmethod
    def network(self, draws: Draws) -> nn.Module:
        """Build the paper's network, its weights drawn (see `scenarios.networks.initialise`).

        A `Learner` where the approach takes no optimizer.
        """

    def open_network(self, factory: Factory, draws: Draws) -> nn.Module | None:  # noqa: ARG002
        """Return the network with another architecture in it; None where the case fixes it.

        `factory(input_shape=..., output_size=...)` builds the part that is open and initialises it;
        `draws` are for the rest.
        """
        return None

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each example, shape `(n,)`; never reduced."""

    def residual(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return what each example would send back were nothing flat, shape `(n,)`.

        By default the length of the loss's derivative by the outputs.
        """
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.loss(leaf, labels).sum(), leaf)
        length: Tensor = slope.flatten(1).norm(dim=1)
        return length

    @abstractmethod
    def score(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the score of each example, shape `(n,)`, between chance and best on average."""

    @abstractmethod
    def solution(self, target: Target) -> nn.Module:
        """Return a network that solves the target, made without gradients."""

    @abstractmethod
    def trivial(self, target: Target) -> nn.Module:
        """Return the best answer that ignores the input: what chance is measured on."""

    def details(self, network: nn.Module, examples: Batch) -> dict[str, Any]:  # noqa: ARG002
        """Return further measures of a trained network, as plain data for the record."""
        return {}

    def normalise(self, score: float) -> float:
        """Return (score - chance) / (best - chance): 0 is chance, 1 is solved."""
        return (score - self.chance) / (self.best - self.chance)

    @torch.no_grad()
    def evaluate(self, network: nn.Module, examples: Batch) -> tuple[float, float]:
        """Return the normalised score and the mean loss over the examples."""
        inputs, labels = examples
        scores, losses = [], []
        widest = max((side for p in network.parameters() for side in p.shape), default=1)
        at_once = max(500, EVALUATION_NUMBERS // widest)
        for x, y in zip(inputs.split(at_once), labels.split(at_once), strict=True):
            outputs = network(x)
            scores.append(self.score(outputs, y))
            losses.append(self.loss(outputs, y))
        # one transfer; summed on the host, since not every device has float64
        each = torch.stack((torch.cat(scores), torch.cat(losses))).cpu()
        score, loss = each.double().mean(dim=1).tolist()
        return self.held_out_score(score, labels), loss

    def held_out_score(self, score: float, labels: Tensor) -> float:  # noqa: ARG002
        """Return what examples of these labels, all of a held-out set, score by their mean."""
        return self.normalise(score)
