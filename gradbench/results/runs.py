"""Reads runs from the disk: a folder, its records file, or one optimizer of several."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradbench.results import baseline_file, frames
from gradbench.results.outcome import contradicted
from gradbench.results.record import Expectation, Record, differing, in_order, lines_of, parse
from gradbench.results.run_folder import HELD
from gradbench.results.summaries import LARGE, in_brief, whose
from gradbench.text import from_json

if TYPE_CHECKING:
    import pandas as pd

VERIFIED, FINGERPRINT = "verified.json", "fingerprint.json"
"""Files of a run's folder: what `gradbench verify` found, and what `describe` measured."""


class RunError(ValueError):
    """A run that cannot be read; its message is one line that says why."""


@dataclass(frozen=True)
class Run:
    """One run: the content of run.json, its records, and messages on lines left out."""

    path: Path
    about: dict[str, Any]
    records: list[Record]
    damaged: list[str]
    held: tuple[str, ...] = ()
    """Lines of its comparison with a baseline or an older version."""
    verified: str = ""
    """How trials of it that were trained again came out; empty where none were."""

    @property
    def optimizers(self) -> list[str]:
        """The optimizers' specs, in the order of the records; learners are left out."""
        return list(dict.fromkeys(r.optimizer for r in self.records if r.expectation != "learner"))

    def fingerprint(self, spec: str) -> list[dict[str, Any]]:
        """Return the properties of an optimizer that `fingerprint.json` in its folder holds.

        That file is what `gradbench describe SPEC ... --format=json` prints.
        """
        found = _json(self.path / FINGERPRINT)
        cards = found if isinstance(found, list) else []
        for card in cards:
            if isinstance(card, dict) and card.get("spec") == spec:
                named = card.get("properties")
                listed = named if isinstance(named, list) else []
                return [each for each in listed if isinstance(each, dict)]
        return []

    def frame(self, level: str = "case") -> "pd.DataFrame":
        """Return its records as a data frame of pandas, a row per case and optimizer, or per trial.

        Raises ExportError where pandas is not installed, ValueError for another level.
        """
        return frames.frame(self.records, level)


def load(path: Path, only: str | None = None) -> Run:
    """Read a run's folder, the records.jsonl within it, or a baseline file.

    A damaged line is skipped and named in `damaged`. A run of more than `LARGE` lines is read
    without curves, sweeps and probe tracks. With `only`, records of other optimizers are skipped.
    Raises RunError where there is no run.
    """
    if path.is_file() and path.suffix == ".json" and path.name != "run.json":
        return _baseline(path, only)
    folder = path.parent if path.is_file() else path
    about, file = folder / "run.json", folder / "records.jsonl"
    if not about.is_file() or not file.is_file():
        raise RunError(f"{path} is no run: it needs run.json and records.jsonl")
    try:
        described = from_json(about.read_text(encoding="utf-8"))
        large = _is_large(file)
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{about}: cannot be read ({type(error).__name__})") from None
    if not isinstance(described, dict):
        raise RunError(f"{about}: not an object")
    records, damaged = [], []
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(lines_of(file), start=1):
        if not line.strip() or (only is not None and whose(line) not in {None, only}):
            continue
        try:
            record = in_brief(line) if large else parse(line)
        except ValueError as error:
            damaged.append(f"{file}, line {number}: skipped, {error}")
            continue
        record.optimizer = record.entry
        again = (record.case, record.optimizer) in seen
        why = f"a second record of {record.case} by {record.optimizer}" if again else ""
        if why or (why := contradicted(record)):
            damaged.append(f"{file}, line {number}: skipped, not a record ({why})")
            continue
        seen.add((record.case, record.optimizer))
        records.append(record)
    found = in_order(records, described)
    return Run(folder, described, found, damaged, _held(folder / HELD), _verified(folder))


def _baseline(path: Path, only: str | None) -> Run:
    try:
        found = baseline_file.load(path)
    except baseline_file.BaselineError as error:
        raise RunError(str(error)) from None
    records = [replace(record, optimizer=record.entry) for record in found.records]
    records = [record for record in records if only in {None, record.optimizer}]
    return Run(path, found.about, in_order(records, found.about), [])


def _is_large(file: Path) -> bool:
    """Whether there are more than `LARGE` lines."""
    with file.open("rb") as whole:
        return next(islice(whole, LARGE, None), None) is not None


def _held(path: Path) -> tuple[str, ...]:
    lines = _json(path)
    return tuple(map(str, lines)) if isinstance(lines, list) else ()


def _verified(folder: Path) -> str:
    found = _json(folder / VERIFIED)
    return str(found.get("said")) if isinstance(found, dict) and found.get("holds") is True else ""


def _json(path: Path) -> Any:  # noqa: ANN401
    """Return the content of a file beside the records; None where there is none to be read."""
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def joined(runs: Sequence[Run]) -> tuple[list[dict[str, Any]], list[Record]]:
    """Return the descriptions of several runs, and their records joined into one list.

    An optimizer that attempted a case in more than one run carries its run's name. Raises RunError
    where one run is named twice, or where the runs' cases are not the same.
    """
    paths = [run.path.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise RunError("one report holds each run once: a run is named twice")
    for name in ("protocol", "preset"):
        values = list(dict.fromkeys(str(run.about.get(name)) for run in runs))
        if len(values) > 1:
            raise RunError(f"one report needs one {name}: these runs have {', '.join(values)}")
    labels = _labels(paths)
    seen = Counter((r.case, r.optimizer) for run in runs for r in run.records)
    twice = {optimizer for (_, optimizer), count in seen.items() if count > 1}
    records: list[Record] = []
    first: dict[str, Record] = {}
    for run, label in zip(runs, labels, strict=True):
        for record in run.records:
            met = first.setdefault(record.case, record)
            if name := differing(record, met):
                raise RunError(f"one report needs the same cases: {name} of {record.case} differs")
            if record.expectation != Expectation.LEARNER:
                given = record.optimizer
                whose = f"{given} ({label})" if given in twice else given
                records.append(replace(record, optimizer=whose))
            elif met is record:  # a learner does the same in every run
                records.append(record)
    return [run.about for run in runs], records


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return the ends of the paths, of the fewest parts that make all of them distinct."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        labels = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(labels)) == len(labels):
            return labels
    return [str(path) for path in paths]


def choose(text: str, *, alone: bool = False) -> tuple[Run, str, list[Record]]:
    """Return a run, one of its optimizers and that one's records, from `RUN` or `RUN:optimizer`.

    With `alone`, the run's other records need not be read. Raises RunError where there is no such
    run or optimizer, and where the run has several optimizers and none is named.
    """
    path, spec = Path(text), ""
    if not path.exists():  # a folder's name may have colons of its own, and so has a spec
        parts = text.split(":")
        ways = [(":".join(parts[:i]), ":".join(parts[i:])) for i in range(len(parts) - 1, 0, -1)]
        found = next(((head, tail) for head, tail in ways if head and Path(head).exists()), None)
        if found is None:
            raise RunError(f"there is no run {text}")
        path, spec = Path(found[0]), found[1]
    if spec and alone:
        run = load(path, spec)
        if spec in run.optimizers:
            return run, spec, [r for r in run.records if r.optimizer == spec]
    run = load(path)
    have = run.optimizers
    if not have:
        raise RunError(f"{path} has no records of any optimizer")
    if not spec and len(have) == 1:
        spec = have[0]
    if spec not in have:
        wanted = f"has no {spec!r}" if spec else "has several optimizers"
        raise RunError(f"{path} {wanted}: name one of {', '.join(have)}, as {path}:{have[0]}")
    return run, spec, [r for r in run.records if r.optimizer == spec]
