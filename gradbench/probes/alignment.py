"""Alignment: whether a step points at a known solution.

In parameter space, the cosine of a step with (solution - weights): it means little where a network
has many equal solutions, since the known one is only one of them. In function space, the cosine
of what a step changes in the outputs, J step, with (solution's outputs - outputs): it knows no
names of weights, and any answer that is code will do as a solution.
"""

import copy
import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from gradbench.probes.gradients import Loss, twin
from gradbench.probes.reading import Reading, nothing
from gradbench.scenario import Batch

IN_PARAMETERS = "alignment in parameters"
IN_FUNCTION = "alignment in function"


def descent(network: nn.Module, loss: Loss, batch: Batch) -> Tensor:
    """Return the negative gradient of the mean loss, flat, `(P,)`, in float64."""
    return -twin(network, loss).gradient(batch).detach()


def alignment_in_parameters(network: nn.Module, solution: nn.Module, step: Tensor) -> Reading:
    """Return the cosine of a step, shape `(P,)`, with the way to a solution of the same shapes."""
    ours, theirs = list(network.parameters()), list(solution.parameters())
    if [p.shape for p in ours] != [p.shape for p in theirs]:
        return nothing(IN_PARAMETERS, "the known solution is another network")
    pairs = zip(theirs, ours, strict=True)
    way = torch.cat(
        [(a.detach().cpu().double() - b.detach().cpu().double()).flatten() for a, b in pairs]
    )
    return _cosine(IN_PARAMETERS, step.to(way), way)


def alignment_in_function(
    network: nn.Module, loss: Loss, solution: nn.Module, batch: Batch, step: Tensor
) -> Reading:
    """Return the cosine of the outputs' first-order change with the way to a solution's outputs."""
    of = twin(network, loss)
    inputs, _ = of.place(batch)
    outputs = of.network(inputs)
    with torch.no_grad():
        wanted = copy.deepcopy(solution).to(inputs.device).double()(inputs)
    if wanted.shape != outputs.shape:
        return nothing(IN_FUNCTION, "the known solution answers in another form")
    way = (wanted - outputs).detach().flatten()
    cost = 2 * len(inputs)  # two reverse passes
    found = _cosine(IN_FUNCTION, of.jacobian(outputs)(step.to(way)).flatten(), way, cost)
    return found if found.note else replace(found, note=f"on {len(inputs)} examples")


def _cosine(probe: str, a: Tensor, b: Tensor, cost: int = 0) -> Reading:
    lengths = a.norm() * b.norm()
    if not lengths > 0:
        return nothing(probe, "nothing moves" if not a.norm() > 0 else "already at the solution")
    value = (a @ b / lengths).item()
    if not math.isfinite(value):
        return nothing(probe, "not finite")
    return Reading(probe, value, cost=cost, path="exact")
