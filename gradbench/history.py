"""Many runs in the order of time: where an optimizer's numbers changed, and whether they got worse.

Runs of equal protocol, preset, tuning and number of seeds make one history per optimizer. Equal
seeds on one kind of machine give equal trajectories, so any difference is a change of code or
versions; whether it is better or worse is for the sign-flip test over all cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradbench.compare import LEVEL, NotComparableError, compare, usable
from gradbench.record import Record
from gradbench.runs import Run, RunError, load
from gradbench.statistics import censored_median

SETTINGS = ("protocol", "preset", "tuning", "seeds")


@dataclass(frozen=True)
class Step:
    """One run within a history, against the one before it.

    `changed` are the cases with other numbers; `ratio` its evaluations over those before (above 1
    is slower) and `p` of the test that they differ, both None for the first run.
    """

    run: str
    started: str
    commit: str
    records: dict[str, Record]
    changed: tuple[str, ...] = ()
    ratio: float | None = None
    p: float | None = None

    @property
    def verdict(self) -> str:
        """Say in words what happened to the numbers."""
        if self.ratio is None or self.p is None:
            return "first"
        if not self.changed:
            return "same numbers"
        if self.p > LEVEL:
            return f"changed in {len(self.changed)}, not shown better or worse"
        return f"{'worse' if self.ratio > 1 else 'better'}, changed in {len(self.changed)}"


@dataclass(frozen=True)
class History:
    """One optimizer under one setting, run after run."""

    optimizer: str
    settings: dict[str, object]
    steps: tuple[Step, ...]

    @property
    def changing(self) -> list[str]:
        """The cases whose numbers were not the same in every run, in the cases' order."""
        moved = {case for step in self.steps for case in step.changed}
        return [case for case in self.cases if case in moved]

    @property
    def cases(self) -> list[str]:
        """All cases of all runs."""
        return list(dict.fromkeys(case for step in self.steps for case in step.records))


def runs(folder: Path) -> list[Run]:
    """Read every run in a folder, oldest first; what is no run is left out.

    Raises RunError where there is none.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_symlink() or not (path / "run.json").is_file():
            continue
        try:
            found.append(load(path))
        except RunError:
            continue  # a run that had no time to record anything
    if not found:
        raise RunError(f"there are no runs in {folder}")
    return sorted(found, key=lambda run: (str(run.about.get("started")), run.path.name))


def histories(found: Sequence[Run]) -> list[History]:
    """Return a history for every optimizer and setting that occur."""
    groups: dict[tuple[str, ...], list[tuple[Run, dict[str, Record]]]] = {}
    for run in found:
        settings = [str(run.about.get(name)) for name in SETTINGS]
        for optimizer in run.optimizers:
            records = usable([r for r in run.records if r.optimizer == optimizer])
            if records:
                groups.setdefault((optimizer, *settings), []).append((run, records))
    return [
        History(key[0], {n: group[0][0].about.get(n) for n in SETTINGS}, _steps(group))
        for key, group in groups.items()
    ]


def _steps(group: Sequence[tuple[Run, dict[str, Record]]]) -> tuple[Step, ...]:
    steps: list[Step] = []
    for run, records in group:
        commit = str(run.about.get("commit") or "unknown")[:10]
        commit += "+" if run.about.get("dirty") else ""
        started = str(run.about.get("started") or "")[:16]
        step = Step(run.path.name, started, commit, records)
        before = steps[-1].records if steps else {}
        steps.append(_against(step, before) if before else step)
    return tuple(steps)


def _against(step: Step, before: dict[str, Record]) -> Step:
    alike = [c for c in step.records if c in before and _comparable(step.records[c], before[c])]
    changed = tuple(c for c in alike if _numbers(step.records[c]) != _numbers(before[c]))
    ratio = p = 1.0
    if changed:
        found = compare([step.records[c] for c in alike], [before[c] for c in alike])
        ratio, p = found.ratio, found.p
    return Step(step.run, step.started, step.commit, step.records, changed, ratio, p)


def _comparable(a: Record, b: Record) -> bool:
    try:
        compare([a], [b])
    except NotComparableError:
        return False
    return True


def _numbers(record: Record) -> list[tuple[object, ...]]:
    """Return what a trial's computation decides, and not the clock."""
    names = ("seed", "status", "evaluations_to_target", "final_score")
    return [tuple(trial.get(name) for name in names) for trial in record.trials]


def result(record: Record | None) -> str:
    """Return seeds solved and the median evaluations to target; `-` where it was not run."""
    if record is None:
        return "-"
    middle = censored_median([trial["evaluations_to_target"] for trial in record.trials])
    time = f">{record.budget}" if middle is None else f"{middle:.0f}"
    return f"{record.solved}/{record.seeds} {time}"
