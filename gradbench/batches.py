"""A trial's training data."""

from gradbench.scenario import Batch, Target
from gradbench.streams import generator
from gradbench.trial import Trial

CHUNK = 64
"""Batches drawn at once; part of the protocol, since it shapes the data streams."""


class Batches:
    """The trial's training data, drawn in chunks: batch t is the same for every optimizer."""

    def __init__(self, trial: Trial, target: Target) -> None:
        self.scenario, self.target, self.size = trial.scenario, target, trial.batch
        self.generator = generator(trial, "data", trial.device)
        self.ready: list[Batch] = []

    def take(self, at_most: int) -> list[Batch]:
        """Return the next batches: at least one, at most so many."""
        if not self.ready:
            inputs, labels = self.scenario.sample(self.target, CHUNK * self.size, self.generator)
            self.ready = list(zip(inputs.split(self.size), labels.split(self.size), strict=True))
        taken, self.ready = self.ready[:at_most], self.ready[at_most:]
        return taken
