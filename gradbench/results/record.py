"""Records and trial results: plain data and its JSON.

Readers ignore fields they do not know; adding a field keeps the schema.

One file: the fields of a line and the functions that read and write lines change together.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from gradbench.results.validation import problem
from gradbench.text import ESCAPED, from_json

SCHEMA = 1
PROTOCOL = 5
"""Version of the rules by which trials are run; only runs of equal protocol compare."""


class Sentence(StrEnum):
    """A string enum with an explanation of each member for readers, as `.sentence`."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Self:  # noqa: D102
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


class Status(Sentence):
    """How one trial ended."""

    SOLVED = "solved", "two evaluations in a row reached the target score within the budget"
    UNSOLVED = "unsolved", "the budget ended before the target score was reached"
    DIVERGED = "diverged", "the loss or the parameters were not finite at an evaluation"
    CRASHED = "crashed", "an exception was raised during training"
    UNSUPPORTED = "unsupported", "this optimizer cannot run on this network"


STATUSES = frozenset(status.value for status in Status)
FAILED = frozenset((Status.DIVERGED, Status.CRASHED, Status.UNSUPPORTED))


class Expectation(Sentence):
    """Expected result of a case, set by the results of four standard optimizers."""

    MUST = "must", "every standard optimizer solved it on every seed"
    MAY = "may", "standard optimizers or seeds disagree: this is where optimizers differ"
    NEVER = "never", "no standard optimizer solved it on any seed, and theory says why"
    LEARNER = "learner", "it takes no optimizer: shown beside the others, asked nothing"


class Outcome(Sentence):
    """Result of an item: its evaluation trials compared with the case's expectation."""

    PASSED = "passed", "it solved what was asked"
    FAILED = "failed", "it left a must unsolved, or crashed"
    XFAILED = "xfailed", "it left unsolved what it was free to leave unsolved"
    NEWS = "news", "it solved a case that was thought never to be solved"
    SKIPPED = "skipped", "it cannot run here"


@dataclass
class TrialResult:
    """One training run as it ended.

    `curve` holds `(evaluations spent, score, loss)` on the held-out set, a row per evaluation step.
    `informativeness` holds the probes' readings, where the trial was probed; the record keeps them.
    `path` is alone, recorded (alone, its steps recorded and replayed by an accelerator), stacked
    (beside other trials, one optimizer for all) or `stacked, recorded`; in older records also
    stacked apart, and with `, compile` or `, graph` behind it.
    `fallback` is the reason why a faster path was not used. `blocks` holds `(seconds, steps)` per
    timed block of the training loop, `timed` the clock's other measurements; records keep only
    their summary.
    """

    seed: int
    status: Status
    reason: str | None = None
    gradient_evaluations: int = 0
    forward_evaluations: int = 0
    evaluations_to_target: int | None = None
    seconds_to_target: float | None = None
    seconds: float | None = None
    final_score: float | None = None
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    target: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    informativeness: list[dict[str, Any]] = field(default_factory=list)
    probe_seconds: float = 0.0
    path: str = "alone"
    fallback: str = ""
    clock: str = ""
    timed: dict[str, Any] = field(default_factory=dict)
    blocks: list[tuple[float, int]] = field(default_factory=list)
    peak_memory_bytes: int | None = None
    weights: list[Any] | None = None
    """The parameters with which the trial was solved, tensors on the CPU."""

    def fail(self, status: Status, reason: str) -> None:
        """Set how the trial failed; that it was at the target before no longer counts."""
        self.status, self.reason = status, reason
        self.evaluations_to_target = self.seconds_to_target = None

    @property
    def evaluation_seconds(self) -> float | None:
        """Mean seconds of training per gradient evaluation; per forward evaluation without any.

        A step may take several evaluations. None where none was taken.
        """
        spent = self.gradient_evaluations
        spent = self.forward_evaluations if spent == 0 else spent
        if not self.blocks or spent == 0:
            return None
        return sum(seconds for seconds, _ in self.blocks) / spent

    def plain(self) -> dict[str, Any]:
        """Return the fields that the record's `trials` keep, as they are read from its file."""
        data: dict[str, Any] = finite(asdict(self))
        kept_apart = (
            *("informativeness", "probe_seconds", "path", "fallback", "clock", "timed", "blocks"),
            *("peak_memory_bytes", "weights"),
        )
        for name in kept_apart:
            del data[name]
        return data


@dataclass
class Record:
    """One case attempted by one optimizer: a line of `records.jsonl`.

    `verification` holds, for news, whether it was `verified`, and the findings as text (`said`).
    `why` is the suite's reason why optimizers fail the case; empty in older records, and on another
    architecture than the case's own.
    `implausible` says why its results are too fast to be believed; empty where they are not.
    `problem` is a digest of target, initial weights and first batch, empty in older records.
    `more_trials` holds, as `trials` does, further seeds that a comparison with a baseline had
    trained to decide; they are no part of the outcome.
    `law` is what theory predicts of the case (`scenarios.law`), empty where it predicts nothing.
    `key` is a digest of everything that the record's numbers depend on, by which a resumed run
    finds it; empty where the item was not finished.
    """

    case: str
    family: str
    scenario: str
    section: str
    setting: dict[str, Any]
    approach: str
    optimizer: str
    expectation: str
    budget: int
    batch: int
    target_score: float
    outcome: str = ""
    solved: int = 0
    seeds: int = 0
    architecture: str | None = None
    tuning: list[dict[str, Any]] = field(default_factory=list)
    tuning_cost: dict[str, Any] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    timing: dict[str, Any] = field(default_factory=dict)
    path: str = "alone"
    notes: list[str] = field(default_factory=list)
    informativeness: list[dict[str, Any]] = field(default_factory=list)
    ladder: list[str] = field(default_factory=list)
    key: str = ""
    problem: str = ""
    why: str = ""
    verification: dict[str, Any] = field(default_factory=dict)
    implausible: str = ""
    more_trials: list[dict[str, Any]] = field(default_factory=list)
    law: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def entry(self) -> str:
        """Name in comparisons: the optimizer, with its architecture where one was named."""
        return entry(self.optimizer, self.architecture)

    @property
    def statuses(self) -> list[str]:
        """Status of each evaluation trial, in the order of the seeds."""
        return [trial["status"] for trial in self.trials]

    @property
    def reason(self) -> str | None:
        """The first reason that an evaluation trial gives for having failed."""
        return next((t["reason"] for t in self.trials if t.get("reason")), None)

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """Build a record from parsed JSON, leaving out fields unknown to this version.

        Failed trials of older versions may say when they were at the target; this is left out.
        """
        record = cls(**{name: value for name, value in data.items() if name in FIELDS})
        trials: list[Any] = record.trials  # from a file, unchecked
        for trial in trials:
            if isinstance(trial, dict) and trial.get("status") in FAILED:
                trial.update(evaluations_to_target=None, seconds_to_target=None)
        return record


def _required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


FIELDS = {f.name: _required(f) for f in fields(Record)}
"""The record's fields, and whether a line of JSON must have them."""


def entry(optimizer: str, architecture: str | None) -> str:
    """Return an optimizer's name in comparisons, with its architecture where one was named."""
    on = f" on {architecture}"
    return optimizer if architecture is None or optimizer.endswith(on) else optimizer + on


def entries(records: Iterable[Record]) -> list[Record]:
    """Return copies of the records with `optimizer` replaced by `entry`, for comparisons."""
    return [replace(record, optimizer=record.entry) for record in records]


def or_zero(value: float | None) -> float:
    """Return the number, 0 where there is none."""
    return 0.0 if value is None else value


def finite(value: Any) -> Any:  # noqa: ANN401
    """Return plain data with every NaN and infinity replaced by None: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): finite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    return value


def to_json(data: Any, **how: Any) -> str:  # noqa: ANN401
    """Return plain data as strict JSON, null for what is not finite; `how` as in json.dumps."""
    try:
        return json.dumps(data, allow_nan=False, ensure_ascii=False, **how)
    except (ValueError, TypeError):
        return json.dumps(finite(data), allow_nan=False, ensure_ascii=False, **how)


def line_of(record: Record) -> str:
    """Return a record as its line of a `.jsonl` file."""
    return to_json(asdict(record)) + "\n"


def append(path: Path, record: Record) -> None:
    """Append one record to a `.jsonl` file, whole or not at all.

    Raises OSError where it cannot be written.
    """
    line = line_of(record).encode(errors=ESCAPED)
    with path.open("ab+", buffering=0) as file:
        end = file.tell()
        if end > 0:
            file.seek(end - 1)
            line = line if file.read(1) == b"\n" else b"\n" + line  # ends a line that was cut off
        left = memoryview(line)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            file.truncate(end)
            raise


def parse(line: str) -> Record:
    """Return the record that a line of JSON holds.

    Raises ValueError, in a few words, where the line holds none.
    """
    try:
        data = from_json(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a record ({str(error)[:100]})") from None
    return from_data(data)


def from_data(data: Any) -> Record:  # noqa: ANN401
    """Return the record that parsed JSON holds.

    Raises ValueError, in a few words, where it holds none.
    """
    if isinstance(data, dict):
        lacks = [name for name, required in FIELDS.items() if required and name not in data]
        if lacks:
            raise ValueError(f"not a record (it lacks {', '.join(lacks[:3])}...)")
    try:
        record = Record.from_plain(data)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a record ({str(error)[:100]})") from None
    if found := problem(vars(record), STATUSES):
        raise ValueError(f"not a record ({found})")
    return record


def lines_of(path: Path) -> Iterator[str]:
    """Yield a file's lines, split at newlines only, with invalid UTF-8 replaced."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as text:
        yield from text


def in_order(records: Iterable[Record], about: Mapping[str, Any]) -> list[Record]:
    """Return a run's records in the order of its cases and optimizers, as run.json has them."""
    cases, specs, networks = (
        {str(name): place for place, name in enumerate(named)}
        if isinstance(named := about.get(key), list | dict)
        else {}
        for key in ("problems", "optimizers", "architectures")
    )
    end = len(cases) + len(specs) + len(networks)

    def place(record: Record) -> tuple[int, int, int]:
        spec = record.optimizer.removesuffix(f" on {record.architecture}")
        network = "paper" if record.architecture is None else record.architecture
        ranks = ((cases, record.case), (specs, spec), (networks, network))
        first, second, third = (known.get(name, end) for known, name in ranks)
        return first, second, third

    return sorted(records, key=place)


def read(path: Path) -> list[Record]:
    """Read every record of a `.jsonl` file.

    Raises ValueError with the line's number where a line is no record.
    """
    records = []
    for number, line in enumerate(lines_of(path), start=1):
        if not line.strip():
            continue
        try:
            records.append(parse(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return records


def differing(a: Record, b: Record) -> str:
    """Return the first field by which two records of one case pose different problems, or empty."""
    names = ["setting", "approach", "budget", "batch", "target_score"]
    if a.problem and b.problem:
        names.append("problem")
    return next((name for name in names if getattr(a, name) != getattr(b, name)), "")
