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
from gradbench.analysis.moved import numbers, result
from gradbench.analysis.statistics import sign_flip
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


def runs(*places: Path) -> tuple[list[Run], list[str]]:
    """Return the runs in folders, oldest first, and a message for each that could not be read.

    A place may be a baseline file as well. Raises RunError where no run has records.
    """
    found, unread = [], []
    for path in [path for place in places for path in _within(place)]:
        try:
            found.append(load(path))
        except RunError as error:
            unread.append(str(error))
    if not any(run.optimizers for run in found):
        raise RunError(f"there are no runs with records in {', '.join(map(str, places))}")
    return sorted(found, key=lambda run: (str(run.about.get("started")), run.path.name)), unread


def _within(place: Path) -> list[Path]:
    """Return the folders of runs in a folder; one that is a run, or a file, as it is."""
    if place.is_file() or (place / "run.json").is_file():
        return [place]
    if not place.is_dir():
        return []
    folders = [path for path in sorted(place.iterdir()) if not path.is_symlink()]
    return [path for path in folders if (path / "run.json").is_file()]


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
        changed=tuple(case for case in alike if numbers(new[case]) != numbers(before[case])),
        ratio=math.exp(sum(means) / len(means)),
        p=sign_flip(clusters(alike, logs, new)),
    )
