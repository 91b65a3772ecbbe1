"""A trial's training data."""

import torch

from gradbench.scenarios.base import Batch, Target
from gradbench.torch_state import accelerated
from gradbench.training.random_streams import draws
from gradbench.training.trial import Trial

CHUNK = 64
"""Least number of batches drawn at once. It changes no data: an example depends on its index alone.
"""

CHUNK_BYTES = 2**22
"""Bytes of inputs that are drawn at once on an accelerator, where a call takes longer than its
arithmetic."""


def chunk(trial: Trial, example_bytes: int) -> int:
    """Return how many batches of a trial are drawn at once: at most those of its budget."""
    if not accelerated(torch.device(trial.device)):
        return CHUNK
    most = CHUNK_BYTES // (trial.batch * example_bytes)
    return max(1, min(max(CHUNK, most), trial.budget))


class Batches:
    """The trial's training data: batch t is the same for every optimizer."""

    def __init__(self, trial: Trial, target: Target, at_once: int = CHUNK) -> None:
        self.trial, self.target, self.at_once = trial, target, at_once
        self.drawn = 0
        self.rest: Batch | None = None
        """Examples that are drawn and not taken yet; None where there are none."""

    @property
    def ready(self) -> list[Batch]:
        """The batches that are drawn and not taken yet."""
        return [] if self.rest is None else self._split(self.rest)

    def take(self, at_most: int) -> list[Batch]:
        """Return the next batches: at least one, at most `at_most`."""
        return self._split(self.take_whole(at_most))

    def take_whole(self, at_most: int) -> Batch:
        """Return the examples of the next batches as one: at least one batch, at most `at_most`."""
        inputs, labels = self.rest or self._draw()
        end = at_most * self.trial.batch
        self.rest = (inputs[end:], labels[end:]) if end < len(inputs) else None
        return inputs[:end], labels[:end]

    def _draw(self) -> Batch:
        trial = self.trial
        first, count = self.drawn, self.at_once * trial.batch
        if trial.stored > 0:
            first %= trial.stored
            count = min(count, trial.stored - first)
        stream = draws(trial, "data", trial.device, first=first)
        inputs, labels = trial.scenario.sample(self.target, count, stream)
        self.drawn += count
        return inputs.to(trial.device), labels.to(trial.device)

    def _split(self, whole: Batch) -> list[Batch]:
        inputs, labels = (part.split(self.trial.batch) for part in whole)
        return list(zip(inputs, labels, strict=True))
