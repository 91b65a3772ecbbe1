"""Alignment: the cosine between a step and the direction to a known solution.

In parameter space it is the cosine of the step with (solution - weights). This means little where a
network has many equal solutions, since the known one is only one of them. In function space it is
the cosine of the step's change of the outputs, J step, with (solution's outputs - outputs). This
does not depend on the parametrisation, so the solution may be any module with such outputs.

Errors come from each example's influence on the cosine (the delta method): in function space over
the inputs on which the step is evaluated, in parameters over the batches that give the gradient.
"""

import copy
import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradbench.probes.gradients import Loss, NetworkCopy, derivatives, float64_copy, joined
from gradbench.probes.reading import Z95, Reading, mean_error, nothing
from gradbench.scenarios.base import Batch

IN_PARAMETERS = "alignment in parameters"
IN_FUNCTION = "alignment in function"
EDGE = 1e-15


def alignment_in_parameters(network: nn.Module, solution: nn.Module, step: Tensor) -> Reading:
    """Return the cosine of a step, shape `(P,)`, with (solution - weights).

    The reading has no value where the solution's parameters have other shapes.
    """
    way = _way(network, solution)
    if way is None:
        return nothing(IN_PARAMETERS, "the known solution is another network")
    return _cosine(IN_PARAMETERS, step.to(way), way)


def alignment_in_function(
    network: nn.Module, loss: Loss, solution: nn.Module, batch: Batch, step: Tensor
) -> Reading:
    """Return the cosine of a step's change of the outputs with (solution's outputs - outputs).

    The change is of first order in the step. The reading has no value where the solution's outputs
    have another shape.
    """
    view = _View(float64_copy(network, loss), batch)
    way = view.way(solution)
    if way is None:
        return nothing(IN_FUNCTION, "the known solution answers in another form")
    change = view.forward(step.to(way)).flatten(1)
    found = _cosine(IN_FUNCTION, change.flatten(), way.flatten(), 2 * len(way))
    return found if found.value is None else _with(found, _influences(change, way))


def gradient_alignment(
    network: nn.Module, loss: Loss, solution: nn.Module, batch: Batch
) -> tuple[Reading, Reading]:
    """Return the alignment of a batch's negative gradient, in function space and in parameters.

    The gradient is that of the batch's first half. In function space it is evaluated on the second
    half, since the alignment is too high on the examples that gave the gradient; the reading is of
    this one step, and its interval is over inputs. The interval in parameters is over batches of
    the size of the half.

    Raises ValueError for fewer than four examples.
    """
    inputs, labels = batch
    half = len(inputs) // 2
    if half < 2:
        raise ValueError(f"need at least 4 examples, two for the gradient: {len(inputs)}")
    view = _View(float64_copy(network, loss), (inputs[:half], labels[:half]))
    step = view.descent
    fresh = (inputs[half:], labels[half:])
    in_function = alignment_in_function(network, loss, solution, fresh, step)
    way = _way(network, solution)
    if way is None:
        return in_function, nothing(IN_PARAMETERS, "the known solution is another network")
    way = way.to(step)
    in_parameters = _cosine(IN_PARAMETERS, step, way, 3 * half)
    if in_parameters.value is not None:
        direction = _normal(step, way, in_parameters.value)
        in_parameters = _with(in_parameters, view.along(direction))
    return in_function, in_parameters


class _View:
    """A network's outputs on a batch, the loss's derivative by them, and the negative gradient."""

    def __init__(self, of: NetworkCopy, batch: Batch) -> None:
        self.of = of
        self.inputs, labels = of.place(batch)
        self.outputs = of.network(self.inputs)
        self.forward = of.jacobian(self.outputs)
        leaf = self.outputs.detach().requires_grad_()
        self.slope = derivatives([of.loss(leaf, labels).sum()], [leaf])[0]
        self.descent = self.back(-self.slope / len(self.slope))

    def back(self, message: Tensor) -> Tensor:
        """Return J^T message, shape `(P,)`."""
        return joined(derivatives([self.outputs], self.of.tensors, [message], retain=True))

    def along(self, direction: Tensor) -> Tensor:
        """Return each example's negative gradient along a direction, shape `(n,)`."""
        return -(self.slope * self.forward(direction)).flatten(1).sum(dim=1)

    def way(self, solution: nn.Module) -> Tensor | None:
        """Return (solution's outputs - outputs), shape `(n, k)`; None if their shapes differ."""
        with torch.no_grad():
            wanted = copy.deepcopy(solution).to(self.inputs.device).double()(self.inputs)
        if wanted.shape != self.outputs.shape:
            return None
        way: Tensor = wanted - self.outputs
        return way.detach().flatten(1)


def _way(network: nn.Module, solution: nn.Module) -> Tensor | None:
    ours, theirs = list(network.parameters()), list(solution.parameters())
    if [p.shape for p in ours] != [p.shape for p in theirs]:
        return None
    pairs = zip(theirs, ours, strict=True)
    return torch.cat(
        [(a.detach().cpu().double() - b.detach().cpu().double()).flatten() for a, b in pairs]
    )


def _normal(a: Tensor, b: Tensor, cosine: float) -> Tensor:
    """Return the derivative of the cosine of a and b by a."""
    unit: Tensor = a / a.norm()
    normal: Tensor = (b / b.norm() - cosine * unit) / a.norm()
    return normal


def _influences(a: Tensor, b: Tensor) -> Tensor:
    """Return each row's influence on the cosine of a and b, shape `(n,)`: n times its share."""
    cosine = (a * b).sum() / (a.norm() * b.norm())
    shares = a.square().sum(dim=1) / a.square().sum() + b.square().sum(dim=1) / b.square().sum()
    own = (a * b).sum(dim=1) / (a.norm() * b.norm())
    influences: Tensor = len(a) * (own - cosine * shares / 2)
    return influences


def _with(found: Reading, influences: Tensor) -> Reading:
    """Return a cosine with the error and interval from examples' influences, shape `(n,)`."""
    value, error = 0.0 if found.value is None else found.value, mean_error(influences)
    middle = math.atanh(max(-1 + EDGE, min(1 - EDGE, value)))  # Fisher's transform
    half = Z95 * error / max(EDGE, 1 - value**2)
    limits = (math.tanh(middle - half), math.tanh(middle + half))
    resolved = limits[0] > 0 or limits[1] < 0
    note = f"on {len(influences)} examples"
    return replace(found, error=error, limits=limits, resolved=resolved, note=note)


def _cosine(probe: str, a: Tensor, b: Tensor, cost: int = 0) -> Reading:
    lengths = a.norm() * b.norm()
    if not lengths > 0:
        return nothing(probe, "nothing moves" if not a.norm() > 0 else "already at the solution")
    value = (a @ b / lengths).item()
    if not math.isfinite(value):
        return nothing(probe, "not finite")
    return Reading(probe, value, cost=cost, path="exact", signed=True)
