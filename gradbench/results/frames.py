"""A run as flat rows, one per case and optimizer or one per trial, for tables and data frames."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradbench.results.outcome import censored_median
from gradbench.results.record import Record

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("case", "trial")
FORMATS = ("csv", "parquet")

NEEDS_PANDAS = "data frames need pandas: pip install 'pytest-gradbench[frames]'"

WHO = ("case", "family", "scenario", "approach", "optimizer", "architecture", "expectation")
TRIAL = (
    *("seed", "status", "reason", "evaluations_to_target", "seconds_to_target", "final_score"),
    *("gradient_evaluations", "forward_evaluations", "seconds"),
)


class ExportError(ValueError):
    """Rows that cannot be written; the message is one line."""


def rows(records: Sequence[Record], level: str = "case") -> list[dict[str, Any]]:
    """Return one row per record (`case`) or one per evaluation trial (`trial`).

    Evaluations count gradients, seconds are of training. `evaluations_to_target` is None for a
    trial that did not reach its target. Axes of difficulty are columns that begin with `setting.`.
    Raises ValueError for another level.
    """
    if level not in LEVELS:
        raise ValueError(f"level {level!r}: choose from {', '.join(LEVELS)}")
    if level == "case":
        return [_case(record) for record in records]
    return [
        _who(record) | {name: trial.get(name) for name in TRIAL}
        for record in records
        for trial in record.trials
    ]


def _who(record: Record) -> dict[str, Any]:
    asked = {name: getattr(record, name) for name in (*WHO, "budget", "batch", "target_score")}
    setting = {f"setting.{name}": value for name, value in record.setting.items()}
    return asked | setting | {"learning_rate": record.hyperparameters.get("lr")}


def _case(record: Record) -> dict[str, Any]:
    times = [trial["evaluations_to_target"] for trial in record.trials]
    step = record.timing.get("seconds_per_step") or {}
    return _who(record) | {
        "outcome": record.outcome,
        "solved": record.solved,
        "seeds": record.seeds,
        "median_evaluations_to_target": censored_median(times) if times else None,
        "sweep_evaluations": record.tuning_cost.get("gradient_evaluations"),
        "seconds_per_step": step.get("median"),
        "contended": record.timing.get("contended"),
        "peak_memory_bytes": record.timing.get("peak_memory_bytes"),
    }


def frame(records: Sequence[Record], level: str = "case") -> "pd.DataFrame":
    """Return the rows as a data frame of pandas; counts that may be missing have type Int64.

    Raises ExportError where pandas is not installed, ValueError for another level.
    """
    try:
        import pandas as pd
    except ImportError:
        raise ExportError(NEEDS_PANDAS) from None
    found = pd.DataFrame(rows(records, level))
    counts = [name for name in found if "evaluations" in name]
    return found.astype(dict.fromkeys(counts, "Int64"))


def write(path: Path, records: Sequence[Record], level: str, kind: str) -> None:
    """Write the rows as a file of a kind, one of `FORMATS`.

    Raises ExportError where a library for it is not installed.
    """
    if kind == "parquet":
        try:
            frame(records, level).to_parquet(path, index=False)
        except ImportError:
            raise ExportError(NEEDS_PANDAS) from None
        return
    found = rows(records, level)
    names = list(dict.fromkeys(name for row in found for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(found)
