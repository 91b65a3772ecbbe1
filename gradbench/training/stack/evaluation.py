"""Evaluates all rows of a stack at once, each on its own held-out examples."""

from collections.abc import Iterator, Sequence

import torch

from gradbench.scenarios.base import Batch, Scenario
from gradbench.training.stack.blocks import to_rows
from gradbench.training.stack.layers import Layer, forward
from gradbench.training.stack.parameters import StackedParameters
from gradbench.training.state import Measured, TrialState

NUMBERS = 2**26
"""Most elements of an activation during evaluation."""


class Evaluation:
    """Evaluates rows in one pass, with one transfer from the device.

    It is valid only for scenarios that do not override `evaluate` (see `possible`).
    """

    def __init__(self, rows: StackedParameters, states: Sequence[TrialState]) -> None:
        self.rows, self.scenario = rows, states[0].scenario
        self.layer: Layer = forward(rows.networks[0], rows.place(slice(0, len(states))))
        seeds = {t.trial.seed: t.held_out for t in states}
        self.to_rows = to_rows([t.trial.seed for t in states], rows.values.device)
        self.labels = [t.held_out[1] for t in states]
        self.examples = [torch.stack(part) for part in zip(*seeds.values(), strict=True)]

    @torch.no_grad()
    def __call__(self) -> list[Measured]:
        """Return score, loss and finiteness of the parameters for each row."""
        rows, network = len(self.labels), self.rows.networks[0]
        network.eval()
        scores, losses = [], []
        for inputs, labels in self._chunks():
            outputs, wanted = self.layer(inputs).flatten(0, 1), labels.flatten(0, 1)
            scores.append(self.scenario.score(outputs, wanted).view(rows, -1))
            losses.append(self.scenario.loss(outputs, wanted).view(rows, -1))
        network.train()
        each = torch.stack((torch.cat(scores, dim=1), torch.cat(losses, dim=1)))
        if each.device.type == "mps":  # it has no float64
            each = each.cpu()
        own = self.rows.values[:, : self.rows.starts[-1]]  # without what fills the lanes
        finite = own.isfinite().all(dim=1).to(each.device)
        means = torch.cat((each.double().mean(dim=2), finite[None].double())).tolist()
        found = zip(*means, self.labels, strict=True)
        return [
            Measured(self.scenario.held_out_score(score, labels), loss, bool(finite))
            for score, loss, finite, labels in found
        ]

    def _chunks(self) -> Iterator[Batch]:
        """Yield parts of the examples, `(rows, n, ...)` each."""
        inputs, labels = self.examples
        widest = max(side for p in self.rows.networks[0].parameters() for side in p.shape)
        at_once = max(1, NUMBERS // (len(self.labels) * max(widest, inputs[0, 0].numel())))
        for x, y in zip(inputs.split(at_once, 1), labels.split(at_once, 1), strict=True):
            yield self.to_rows(x), self.to_rows(y)


def possible(scenario: Scenario) -> bool:
    """Return whether `Evaluation` is valid: the scenario does not override `evaluate`."""
    return type(scenario).evaluate is Scenario.evaluate
