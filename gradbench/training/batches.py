"""A trial's training data."""

from gradbench.scenarios.base import Batch, Target
from gradbench.training.random_streams import draws
from gradbench.training.trial import Trial

CHUNK = 64
"""Number of batches drawn at once. It changes no data: an example depends on its index alone."""


class Batches:
    """The trial's training data: batch t is the same for every optimizer."""

    def __init__(self, trial: Trial, target: Target) -> None:
        self.trial, self.target = trial, target
        self.drawn = 0
        self.ready: list[Batch] = []

    def take(self, at_most: int) -> list[Batch]:
        """Return the next batches: at least one, at most `at_most`."""
        if not self.ready:
            trial, size = self.trial, self.trial.batch
            first, count = self.drawn, CHUNK * size
            if trial.stored > 0:
                first %= trial.stored
                count = min(count, trial.stored - first)
            stream = draws(trial, "data", trial.device, first=first)
            drawn = trial.scenario.sample(self.target, count, stream)
            inputs, labels = (part.to(trial.device) for part in drawn)
            self.ready = list(zip(inputs.split(size), labels.split(size), strict=True))
            self.drawn += count
        taken, self.ready = self.ready[:at_most], self.ready[at_most:]
        return taken
