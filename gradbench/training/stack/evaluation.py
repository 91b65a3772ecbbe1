"""Evaluates all rows of a stack at once, each on its own held-out examples."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch, Scenario
from gradbench.training.stack.blocks import to_rows
from gradbench.training.stack.layers import Layer, forward
from gradbench.training.stack.parameters import StackedParameters
from gradbench.training.state import Measured, TrialState

NUMBERS = 2**26
"""Most elements of an activation during evaluation."""


class Evaluation:
    """Evaluates rows in one pass, with one transfer from the device; valid if `possible` says so.

    On a CPU that is no faster: the arithmetic takes nearly all of the time.
    """

    def __init__(self, rows: StackedParameters, states: Sequence[TrialState]) -> None:
        self.rows, self.scenario = rows, states[0].scenario
        self.layer: Layer = forward(rows.networks[0], rows.place(slice(0, len(states))))
        seeds = {t.trial.seed: t.held_out for t in states}
        self.to_rows = to_rows([t.trial.seed for t in states], rows.values.device)
        self.labels = [t.held_out[1] for t in states]
        self.examples = [torch.stack(part) for part in zip(*seeds.values(), strict=True)]
        self.at_once = max(1, NUMBERS // (len(states) * _widest(states[0])))

    @torch.no_grad()
    def __call__(self) -> list[Measured]:
        """Return score, loss and finiteness of the parameters for each row."""
        network = self.rows.networks[0]
        network.eval()
        each = self._measure()
        network.train()
        if each.device.type == "mps":  # it has no float64
            each = each.cpu()
        own = self.rows.values[:, : self.rows.starts[-1]]  # without what fills the lanes
        finite = own.isfinite().all(dim=1).to(each.device)
        means = torch.cat((each.double().mean(dim=2), finite[None].double())).tolist()
        if self.scenario.scores_weights:
            means[0] = self._weight_scores()
        else:
            pairs = zip(means[0], self.labels, strict=True)
            means[0] = [self.scenario.held_out_score(score, labels) for score, labels in pairs]
        return [Measured(score, loss, bool(own)) for score, loss, own in zip(*means, strict=True)]

    def _measure(self) -> Tensor:
        """Return each example's score and loss, shape `(2, rows, n)`.

        If the scenario scores weights, the first of the two repeats the losses and is not used.
        """
        rows, scores, losses = len(self.labels), [], []
        for inputs, labels in self._chunks():
            outputs, wanted = self.layer(inputs).flatten(0, 1), labels.flatten(0, 1)
            losses.append(self.scenario.loss(outputs, wanted).view(rows, -1))
            scored = not self.scenario.scores_weights
            score = self.scenario.score(outputs, wanted).view(rows, -1) if scored else None
            scores.append(losses[-1] if score is None else score)
        return torch.stack((torch.cat(scores, dim=1), torch.cat(losses, dim=1)))

    def _weight_scores(self) -> list[float]:
        """Return the score of each row's parameters, after one transfer of all."""
        values = self.rows.values.detach().cpu()
        views = [self.rows.view(values, index) for index in range(len(self.rows.shapes))]
        return [
            self.scenario.weight_score([view[row] for view in views])
            for row in range(len(self.labels))
        ]

    def _chunks(self) -> Iterator[Batch]:
        """Yield parts of the examples, `(rows, n, ...)` each."""
        pieces = (side.split(self.at_once, 1) for side in self.examples)
        for inputs, labels in zip(*pieces, strict=True):
            yield self.to_rows(inputs), self.to_rows(labels)


def possible(scenario: Scenario) -> bool:
    """Return whether `Evaluation` is valid for a scenario.

    It must be gradbench's own, whose properties are tested, and not override `evaluate`.
    """
    own = type(scenario).__module__.startswith("gradbench.")
    return own and scenario.scores_apart and type(scenario).evaluate is Scenario.evaluate


def _widest(state: TrialState) -> int:
    """Return about the most elements of an activation of one example, by the layers' sizes."""
    widths = [side for p in state.parameters for side in p.shape]
    layers = [m for m in state.network.modules() if isinstance(m, nn.Conv2d)]
    channels = max((layer.out_channels for layer in layers), default=1)
    return max([channels * state.held_out[0][0].numel(), *widths])
