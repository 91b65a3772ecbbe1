"""The baseline file: a run's settings and results, one line per trial, so that a diff can be read.

It holds what comparisons need. Curves, sweeps, readings and times stay in the run's folder.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gradbench.results.outcome import contradicted
from gradbench.results.record import Record, from_data, to_json
from gradbench.text import from_json, write_whole

ABOUT = (
    *("schema", "protocol", "started", "commit", "dirty", "preset", "seeds", "tuning", "dtype"),
    *("device", "cpu", "versions", "optimizers", "architectures", "problems"),
)
"""Fields of run.json that are kept."""

TRIAL = ("seed", "status", "evaluations_to_target", "final_score", "reason")
"""Fields of a trial that are kept; the reason where there is one."""

LEFT_OUT = (
    *("tuning", "tuning_cost", "timing", "informativeness", "path", "notes", "key"),
    *("verification", "implausible", "more_trials", "law"),
)
"""Fields of a record that are not kept."""


class BaselineError(ValueError):
    """A baseline that cannot be read or written; its message is one line."""


@dataclass(frozen=True)
class Baseline:
    """A recorded run: its settings (`about`), which decide comparability, and its records."""

    about: dict[str, Any]
    records: list[Record]

    def of(self, optimizer: str) -> list[Record]:
        """Return the records of one optimizer."""
        return [record for record in self.records if record.optimizer == optimizer]


def write(path: Path, about: dict[str, Any], records: Sequence[Record]) -> None:
    """Write a run as a baseline, whole or not at all.

    Raises BaselineError where it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "\n".join(_lines(about, records)) + "\n")
    except OSError as error:
        raise BaselineError(f"cannot write the baseline {path}: {error.strerror}") from None


def _lines(about: dict[str, Any], records: Sequence[Record]) -> Iterator[str]:
    yield "{"
    for name in ABOUT:
        if name in about:
            yield f" {to_json(name)}: {to_json(about[name])},"
    yield ' "cases": ['
    for number, record in enumerate(records, 1):
        kept = {name: value for name, value in asdict(record).items() if name not in LEFT_OUT}
        trials = [_trial(trial) for trial in kept.pop("trials")]
        yield f'  {to_json(kept)[:-1]}, "trials": ['
        yield from (f"   {line}," for line in trials[:-1])
        yield from (f"   {line}" for line in trials[-1:])
        yield "  ]}," if number < len(records) else "  ]}"
    yield " ]"
    yield "}"


def _trial(trial: dict[str, Any]) -> str:
    return to_json({name: trial.get(name) for name in TRIAL if name != "reason" or trial.get(name)})


def load(path: Path) -> Baseline:
    """Return the baseline that a file holds; those of older versions are read as well.

    Raises BaselineError where the file is missing, unreadable or not a baseline.
    """
    try:
        data = from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BaselineError(
            f"there is no baseline {path}; --gb-update-baseline writes one"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BaselineError(f"{path} is no baseline ({type(error).__name__})") from None
    if not isinstance(data, dict) or not isinstance(data.get("cases"), list):
        raise BaselineError(f"{path} is no baseline: it has no list of cases")
    records: list[Record] = []
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(data["cases"], start=1):
        try:
            record = _checked(entry, seen)
        except ValueError as error:
            raise BaselineError(f"{path} is no baseline: case {number}: {error}") from None
        seen.add((record.case, record.optimizer))
        records.append(record)
    return Baseline({name: value for name, value in data.items() if name != "cases"}, records)


def _checked(entry: Any, seen: set[tuple[str, str]]) -> Record:  # noqa: ANN401
    """Return the record that an entry holds; raises ValueError where it cannot be one."""
    record = from_data(entry)
    if why := contradicted(record):
        raise ValueError(f"not a record ({why})")
    if (record.case, record.optimizer) in seen:
        raise ValueError(f"a second record of {record.case} by {record.optimizer}")
    return record
