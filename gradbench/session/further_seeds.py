"""Further seeds of cases that leave the comparison with a baseline undecided."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gradbench.results.record import Record, entry

if TYPE_CHECKING:
    from gradbench.engines.worker import Answer
    from gradbench.protocol.item import Item

GROWTH = 1.5
"""Factor on the number of seeds from one comparison to the next."""

Name = tuple[str, str]
"""A case, and an optimizer's name in comparisons."""


@dataclass
class FurtherSeeds:
    """Trains seeds after a case's own, at the hyperparameters of its record, as far as asked.

    `run` runs items by name and returns their answers. The trials are kept in `trials`.
    """

    items: "dict[Name, Item]" = field(default_factory=dict)
    run: "Callable[[dict[str, Item]], dict[str, Answer]]" = lambda _: {}
    trials: dict[Name, list[dict[str, Any]]] = field(default_factory=dict)

    def start(
        self, items: "Iterable[Item]", run: "Callable[[dict[str, Item]], dict[str, Answer]]"
    ) -> None:
        """Set the session's items, and what runs further ones."""
        self.items = {
            (item.case.id, entry(item.optimizer, item.architecture)): item for item in items
        }
        self.run = run

    def with_trials(self, record: Record) -> Record:
        """Return the record with the further trials among its own, for a comparison."""
        more = self.trials.get((record.case, record.optimizer), [])
        trials = [*record.trials, *more]
        return replace(record, trials=trials, seeds=len(trials)) if more else record

    def kept(self, records: Sequence[Record]) -> list[Record]:
        """Return a run's records, each with its further trials in `more_trials`."""
        return [
            replace(r, more_trials=self.trials.get((r.case, r.entry), r.more_trials))
            for r in records
        ]

    def train(self, records: Sequence[Record], old: Sequence[Record]) -> bool:
        """Multiply the seeds of these cases by `GROWTH`, up to the baseline's number.

        Of a case that neither side has solved on any seed none is trained: it says nothing about
        speed. Return whether any was trained.
        """
        from gradbench.optimizers.factory import resolve
        from gradbench.protocol.item import optimizer_of

        before = {record.case: record for record in old}
        wanted: dict[str, Item] = {}
        names: dict[str, Name] = {}
        for record in records:
            name = (record.case, record.optimizer)
            item, was = self.items.get(name), before.get(record.case)
            if item is None or was is None or not (record.solved or was.solved):
                continue
            have = len(self.with_trials(record).trials)
            end = min(math.ceil(GROWTH * have), 1 + max(trial["seed"] for trial in was.trials))
            spec = optimizer_of(item, item.case.build())
            if end <= have or spec is None:
                continue
            text = f"{record.case}[{record.optimizer}], seeds {have} to {end - 1}"
            names[text] = name
            wanted[text] = replace(
                item,
                first_seed=have,
                seeds=end - have,
                hyperparameters=resolve(spec).chosen(record.hyperparameters),
                probes="none",
                key="",
            )
        for text, answer in self.run(wanted).items():
            for trial in answer[0].trials:
                trial.pop("weights", None)
                self.trials.setdefault(names[text], []).append(trial)
        return bool(wanted)
