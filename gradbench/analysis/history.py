"""Runs in order of time: where an optimizer's numbers changed, and whether they got worse.

Runs of equal protocol, preset, tuning, seeds, dtype and device type make one history per optimizer.
Equal seeds on one kind of machine give equal trajectories, so any difference is a change of code or
versions; the sign-flip test over all cases decides whether it is better or worse. Each case is
compared with the latest earlier run that has it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradbench.analysis.comparison import LEVEL, clusters, log_ratios, usable
from gradbench.analysis.statistics import censored_median, sign_flip
from gradbench.results.record import Record, differing
from gradbench.results.runs import Run, RunError, load

SETTINGS = ("protocol", "preset", "tuning", "seeds", "dtype", "device")


@dataclass(frozen=True)
class Step:
    """One run within a history, against those before it.

    `held` counts the cases compared with an earlier run, `changed` names the cases among them with
    other numbers. `ratio` is the geometric mean over the compared cases of the new evaluations over
    the earlier ones (above 1 is slower), `p` the two-sided p-value of the sign-flip test; both are
    None where nothing was compared.
    """

    run: str
    started: str
    commit: str
    records: dict[str, Record]
    held: int = 0
    changed: tuple[str, ...] = ()
    ratio: float | None = None
    p: float | None = None

    @property
    def verdict(self) -> str:
        """Change of the numbers against the earlier runs, in a few words."""
        if self.ratio is None or self.p is None:
            return "nothing to compare"
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

    def plain(self) -> dict[str, Any]:
        """Return the history as plain data: each run with its verdict and its cases' results."""
        steps = [
            {
                "run": step.run,
                "started": step.started,
                "commit": step.commit,
                "verdict": step.verdict,
                "compared": step.held,
                "changed": list(step.changed),
                "ratio": step.ratio,
                "p": step.p,
                "cases": {case: result(record) for case, record in step.records.items()},
            }
            for step in self.steps
        ]
        return {"optimizer": self.optimizer, "settings": self.settings, "runs": steps}

    @property
    def changing(self) -> list[str]:
        """The cases with numbers that changed in some run, in the order of `cases`."""
        moved = {case for step in self.steps for case in step.changed}
        return [case for case in self.cases if case in moved]

    @property
    def cases(self) -> list[str]:
        """All cases of all runs."""
        return list(dict.fromkeys(case for step in self.steps for case in step.records))


def runs(folder: Path) -> tuple[list[Run], list[str]]:
    """Return the runs in a folder, oldest first, and a message for each that could not be read.

    Raises RunError where no run has records.
    """
    found, unread = [], []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_symlink() or not (path / "run.json").is_file():
            continue
        try:
            found.append(load(path))
        except RunError as error:
            unread.append(str(error))
    if not any(run.optimizers for run in found):
        raise RunError(f"there are no runs with records in {folder}")
    return sorted(found, key=lambda run: (str(run.about.get("started")), run.path.name)), unread


def histories(found: Sequence[Run]) -> list[History]:
    """Return a history for every optimizer and setting that occur."""
    groups: dict[tuple[str, ...], list[tuple[Run, dict[str, Record]]]] = {}
    for run in found:
        for optimizer in run.optimizers:
            records = usable([r for r in run.records if r.optimizer == optimizer])
            if records:
                key = (optimizer, *map(str, _settings(run).values()))
                groups.setdefault(key, []).append((run, records))
    return [History(key[0], _settings(group[0][0]), _steps(group)) for key, group in groups.items()]


def _settings(run: Run) -> dict[str, object]:
    settings = {name: run.about.get(name) for name in SETTINGS}
    device = settings["device"]
    return settings | {"device": device.get("type") if isinstance(device, dict) else device}


def _steps(group: Sequence[tuple[Run, dict[str, Record]]]) -> tuple[Step, ...]:
    steps: list[Step] = []
    before: dict[str, Record] = {}
    for run, records in group:
        commit = str(run.about.get("commit") or "unknown")[:10]
        commit += "+" if run.about.get("dirty") else ""
        started = str(run.about.get("started") or "")[:16]
        step = Step(run.path.name, started, commit, records)
        steps.append(_against(step, before))
        before = before | records
    return tuple(steps)


def _against(step: Step, before: dict[str, Record]) -> Step:
    new = step.records
    alike = [case for case in new if case in before and not differing(new[case], before[case])]
    if not alike:
        return step
    logs = {case: log_ratios(new[case], before[case]) for case in alike}
    means = [sum(values.values()) / max(1, len(values)) for values in logs.values()]
    return replace(
        step,
        held=len(alike),
        changed=tuple(case for case in alike if _numbers(new[case]) != _numbers(before[case])),
        ratio=math.exp(sum(means) / len(means)),
        p=sign_flip(clusters(alike, logs, new)),
    )


def _numbers(record: Record) -> list[tuple[object, ...]]:
    """Return the fields of each trial that do not depend on timing."""
    names = ("seed", "status", "evaluations_to_target", "final_score")
    return [tuple(trial.get(name) for name in names) for trial in record.trials]


def result(record: Record | None) -> str:
    """Return seeds solved and the median evaluations to target; `-` where it was not run."""
    if record is None:
        return "-"
    middle = censored_median([trial["evaluations_to_target"] for trial in record.trials])
    time = f">{record.budget}" if middle is None else f"{middle:.0f}"
    return f"{record.solved}/{record.seeds} {time}"
