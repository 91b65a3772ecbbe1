"""A stack's steps, recorded and replayed by the accelerator."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from gradbench.scenarios.base import Batch
from gradbench.training.graph_capture import Graph, can_capture, make_capturable
from gradbench.training.stack.blocks import to_rows, weights
from gradbench.training.stack.parameters import StackedParameters
from gradbench.training.stack.passes import Pass
from gradbench.training.stack.shared_optimizer import Shared


class RecordedStack:
    """Runs a stack's steps on a batch of each seed, by replaying one recorded step.

    If `can_capture` holds for every optimizer and none has a schedule, `inside` is True and the
    graph includes the optimizers' steps; otherwise the caller runs them.

    Raises NotImplementedError where this torch records no graphs on the device.
    """

    def __init__(
        self,
        rows: StackedParameters,
        blocks: Sequence[tuple[slice, Pass]],
        owners: Sequence[tuple[Shared, list[LRScheduler]]],
        seeds: Sequence[int],
    ) -> None:
        self.blocks, self.seeds = blocks, seeds
        self.values, self.owners = rows.values, [owner for owner, _ in owners]
        scheduled = any(schedules for _, schedules in owners)
        self.inside = not scheduled and all(can_capture(o.optimizer) for o in self.owners)
        self.to_rows = to_rows(seeds, rows.values.device)
        self.graph = Graph(self._step, rows.values.device)
        self.batch: list[Tensor] = []
        """Buffers of inputs and labels, with an entry per seed, that the graph reads."""

    def steps(self, drawn: Sequence[Batch], size: int) -> Iterator[Batch]:
        """Yield each step's inputs and labels, `(seeds, size, ...)`, from each seed's examples."""
        inputs, labels = (
            torch.stack([part.unflatten(0, (-1, size)) for part in side], dim=1)
            for side in zip(*drawn, strict=True)
        )
        yield from zip(inputs, labels, strict=True)

    def __call__(self, batch: Batch) -> None:
        """Take a step."""
        self.batch = self.batch or [part.clone() for part in batch]
        for place, new in zip(self.batch, batch, strict=True):
            place.copy_(new)
        self.graph()

    def release(self) -> None:
        """Free the recorded graph with its buffers."""
        self.graph.release()
        self.batch = []

    def _step(self) -> None:
        inputs, labels = map(self.to_rows, self.batch)
        rows, n = labels.shape[:2]
        each = weights(rows, n, n, self.values.dtype, self.values.device).view(rows, n)
        for part, go in self.blocks:
            go(inputs[part], labels[part], each[part].flatten())
        if self.inside:
            self.graph.side_by_side([partial(self._update, owner) for owner in self.owners])

    def _update(self, owner: Shared) -> None:
        owner.step()
        if self.graph.steps == 1:
            make_capturable(owner.optimizer)
