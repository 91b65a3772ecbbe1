"""The cases whose numbers differ between two runs on equal seeds, each before and after.

Equal seeds on one kind of machine give equal numbers, so any difference is a change of code, of
versions or of the machine.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gradbench.analysis.comparison import usable
from gradbench.results.outcome import censored_median
from gradbench.results.record import Record, differing

Numbers = list[tuple[object, ...]]


@dataclass(frozen=True)
class Moved:
    """A case with other numbers: seeds solved, median evaluations to target, rate; old and new.

    `before` and `after` count the seeds that both have. The median is that of
    `censored_median`: infinite (`>budget`) where more than half of the seeds are unsolved.
    """

    case: str
    optimizer: str
    before: "Result"
    after: "Result"

    def line(self) -> str:
        """Return one line; what did not move stands once."""
        names = ("solved", "evaluations", "rate")
        parts = [
            f"{name} {old if old == new else f'{old} -> {new}'}"
            for name, old, new in zip(names, self.before, self.after, strict=True)
        ]
        return f"{self.optimizer}: {self.case}: {', '.join(parts)}"


Result = tuple[str, str, str]
"""Seeds solved of seeds, median evaluations to target, and learning rate, as text."""


def moved(new: Sequence[Record], old: Sequence[Record]) -> list[Moved]:
    """Return the cases of one optimizer whose numbers differ, over the seeds that both have."""
    ours, theirs = usable(new), usable(old)
    found = []
    for case, record in ours.items():
        was = theirs.get(case)
        if was is None or differing(record, was):
            continue
        seeds = {t["seed"] for t in record.trials} & {t["seed"] for t in was.trials}
        if numbers(record, seeds) != numbers(was, seeds):
            found.append(Moved(case, record.optimizer, _result(was, seeds), _result(record, seeds)))
    return found


def lines(found: Sequence[Moved]) -> list[str]:
    """Return a line per case that moved, and one for all whose single trials alone differ."""
    shown = [each.line() for each in found if each.before != each.after]
    slight = [each for each in found if each.before == each.after]
    if slight:
        names = ", ".join(each.case for each in slight)
        shown.append(f"{slight[0].optimizer}: single trials alone differ: {names}")
    return shown


def numbers(record: Record, seeds: Collection[int] | None = None) -> Numbers:
    """Return the fields of each trial that do not depend on timing, of these seeds or of all."""
    names = ("seed", "status", "evaluations_to_target", "final_score")
    chosen = [t for t in record.trials if seeds is None or t["seed"] in seeds]
    return [tuple(trial.get(name) for name in names) for trial in chosen]


def _result(record: Record, seeds: Collection[int]) -> Result:
    times = [t["evaluations_to_target"] for t in record.trials if t["seed"] in seeds]
    rate = record.hyperparameters.get("lr")
    solved = f"{sum(time is not None for time in times)}/{len(times)}"
    return solved, median(times, record.budget), "-" if rate is None else f"{rate:g}"


def median(times: Sequence[int | None], budget: int) -> str:
    """Return the median evaluations to target as text; `>budget` where it was not reached."""
    middle = censored_median(times)
    return f">{budget}" if middle is None else f"{middle:.0f}"


def result(record: Record | None) -> str:
    """Return seeds solved and the median evaluations to target; `-` where it was not run."""
    if record is None:
        return "-"
    times = [trial["evaluations_to_target"] for trial in record.trials]
    return f"{record.solved}/{record.seeds} {median(times, record.budget)}"
