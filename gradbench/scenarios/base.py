"""`Scenario`, the base class of learning problems; its fields are the axes of difficulty."""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gradbench.scenarios.draws import Draws
from gradbench.scenarios.law import Law

Target = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]
"""Inputs and labels; the first dimension of both is the example."""

Factory = Callable[..., nn.Module]

EVALUATION_NUMBERS = 150_000
"""Approximate entries of the widest activation in an evaluation. The memory of larger ones returns
to the system whenever it is freed; with far fewer, the overhead of calls exceeds the arithmetic."""


@runtime_checkable
class Learner(Protocol):
    """A network with its own learning rule, for approaches that take no optimizer."""

    def learn(self, inputs: Tensor, labels: Tensor) -> None:
        """Update the network from one batch."""


@dataclass(frozen=True)
class Scenario(ABC):
    """A learning problem in the frame of the paper's eq. 1: F_h(w) = E_x[loss(p_w(x), h(x))].

    Subclasses are frozen dataclasses whose fields are the axes of difficulty, and `approach` where
    the paper compares several. Everything random is drawn from the `Draws` that are passed in, on
    their device, in torch's default floating-point type. Where libraries may round differently (a
    sum, a cosine), compute in float64 and round once: the problem is then the same everywhere.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    """The mechanism that fails: the paper's uninformative, decomposition, conditioning, flatness,
    and beyond it depth, heterogeneity, hierarchy, noise, forgetting, precision, rotation, delay."""
    section: ClassVar[str]
    claim: ClassVar[str]
    """The paper's claim about the outcome, in one sentence."""
    chance: ClassVar[float]
    """Expected score of the best constant or random answer."""
    best: ClassVar[float]
    """Best attainable expected score."""
    ladder: ClassVar[tuple[str, ...]] = ()
    """Names of the fields of which a larger value makes the problem harder, all else equal."""

    @property
    def setting(self) -> dict[str, Any]:
        """The fields that determine targets and data, by name: by default all but `approach`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "approach"}

    def __init_subclass__(cls) -> None:
        """Add an unused argument `draws` to a subclass's `network` that is defined without it."""
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
        """Return the fixed examples for all evaluations."""

    @abstractmethod
    def network(self, draws: Draws) -> nn.Module:
        """Return the paper's network with random weights (see `scenarios.networks.initialise`).

        The result is a `Learner` where the approach takes no optimizer.
        """

    def open_network(self, factory: Factory, draws: Draws) -> nn.Module | None:  # noqa: ARG002
        """Return the network with another architecture; None where the architecture is fixed.

        `factory(input_shape=..., output_size=...)` builds and initialises the replaceable part;
        `draws` are for the rest.
        """
        return None

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each example, shape `(n,)`; never reduced."""

    def residual(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return each example's backward message for a loss without flat activations, shape `(n,)`.

        By default it is the length of the loss's derivative by the outputs.
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
        """Return the best network that ignores the input; its score measures `chance`."""

    def probed(self, network: nn.Module) -> nn.Module:
        """Return the network whose gradients the probes measure: by default the trained one."""
        return network

    def details(self, network: nn.Module, examples: Batch) -> dict[str, Any]:  # noqa: ARG002
        """Return further measures of a trained network, as plain data for the record."""
        return {}

    def law(self) -> Law | None:
        """Return what theory predicts at this setting; None where it predicts no number."""
        return None

    def normalise(self, score: float) -> float:
        """Return (score - chance) / (best - chance): 0 is chance, 1 is solved."""
        return (score - self.chance) / (self.best - self.chance)

    @property
    def scores_apart(self) -> bool:
        """Whether an example's score does not depend on the other examples that are scored."""
        return True

    @property
    def examples_differ(self) -> bool:
        """Whether examples differ; if not, one of them has the whole objective."""
        return True

    @property
    def cycle(self) -> int:
        """How many successive examples have the expected loss as mean; 1 if drawn independently."""
        return 1

    @property
    def has_expected_loss(self) -> bool:
        """Whether the loss of an example has an expectation, which more examples would near."""
        return True

    @property
    def minimises(self) -> bool:
        """Whether the solution minimises the loss; not in a game, where it is a saddle."""
        return True

    @property
    def scores_weights(self) -> bool:
        """Whether `weight_score` scores a network, and no outputs do."""
        return False

    def weight_score(self, weights: Sequence[Tensor]) -> float:
        """Return the normalised score of a network with these parameters, which are on the CPU.

        Only scenarios with `scores_weights` define it.
        """
        raise NotImplementedError(f"{self.name} scores outputs, not weights: {weights!r}")

    @torch.no_grad()
    def evaluate(self, network: nn.Module, examples: Batch) -> tuple[float, float]:
        """Return the normalised score and the mean loss over the examples."""
        inputs, labels = examples
        scores, losses = [], []
        widest = max((side for p in network.parameters() for side in p.shape), default=1)
        at_once = max(500, EVALUATION_NUMBERS // widest)
        for x, y in zip(inputs.split(at_once), labels.split(at_once), strict=True):
            outputs = network(x)
            losses.append(self.loss(outputs, y))
            scores.append(losses[-1] if self.scores_weights else self.score(outputs, y))
        # one transfer to the host, which computes the means: not every device has float64
        each = torch.stack((torch.cat(scores), torch.cat(losses))).cpu()
        score, loss = each.double().mean(dim=1).tolist()
        if self.scores_weights:
            return self.weight_score([p.detach().cpu() for p in network.parameters()]), loss
        return self.held_out_score(score, labels), loss

    def held_out_score(self, score: float, labels: Tensor) -> float:  # noqa: ARG002
        """Return the normalised score of a held-out set from the mean score of its examples.

        `labels` are those of the whole set.
        """
        return self.normalise(score)
