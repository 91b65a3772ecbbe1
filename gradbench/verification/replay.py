"""Trains trials of a recorded run again, and compares each with its record."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tabulate import tabulate

from gradbench.optimizers.factory import resolve
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item, optimizer_of
from gradbench.protocol.problem_digest import digest
from gradbench.protocol.run_item import identity
from gradbench.protocol.trials import TrialRunner
from gradbench.results.record import PROTOCOL, Record, TrialResult, to_json
from gradbench.results.run_folder import machine
from gradbench.results.runs import Run, RunError
from gradbench.spec import SpecError
from gradbench.text import from_json, printable
from gradbench.training.trial import EVALUATION_RATIO

START = 1e-4
"""Relative difference of losses before the first step that other roundings explain."""

POSED = ("scenario", "setting", "approach", "budget", "batch", "target_score", "problem")
"""Fields of a record that its case must have."""


@dataclass(frozen=True)
class Replay:
    """One trial, trained again.

    `verdict` is `equal` (to the bit), `alike` (on another kind of machine: the same status, the
    target within one evaluation step), `differs` or `not replayed`; `said` is the reason, with the
    recorded and the new value.
    """

    case: str
    optimizer: str
    seed: int
    verdict: str
    said: str = ""


@dataclass(frozen=True)
class Replays:
    """The trials that were drawn, of how many, and whether this is the run's kind of machine."""

    found: list[Replay]
    trials: int
    same_machine: bool
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every trial that was drawn was trained again to what its record says."""
        return all(each.verdict in {"equal", "alike"} for each in self.found)

    def plain(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self) | {"holds": self.holds}


def replay(
    run: Run,
    cases: Sequence[Case],
    sample: int,
    *,
    seed: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Replays:
    """Train `sample` trials of a run again, drawn without replacement, and compare each.

    The system's generator draws them, unless `seed` is given: whoever made the records cannot know
    which. `cases` are the cases that the run may have attempted. Raises RunError where the run is
    of another protocol or has no trials.
    """
    protocol = run.about.get("protocol")
    if protocol != PROTOCOL:
        raise RunError(f"{run.path}: protocol {protocol}; this version trains by {PROTOCOL}")
    everything = [(record, trial) for record in run.records for trial in record.trials]
    if not everything:
        raise RunError(f"{run.path} has no trials")
    draw: random.Random = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311
    drawn = draw.sample(everything, min(sample, len(everything)))
    notes = _other_machine(run.about)
    known = {case.id: case for case in cases}
    found = []
    for number, (record, trial) in enumerate(drawn, 1):
        progress(f"{number} of {len(drawn)}: {record.case}, seed {trial['seed']}")
        verdict, said = _replayed(run, record, trial, known.get(record.case), exact=not notes)
        found.append(Replay(record.case, record.optimizer, trial["seed"], verdict, said))
    return Replays(found, len(everything), not notes, notes)


def _other_machine(about: dict[str, Any]) -> list[str]:
    """Return what differs between this machine and a run's, in words; empty if its kind is this."""
    here, there = machine(), about
    found = []
    if here["cpu"] != there.get("cpu"):
        found.append(f"processor: {there.get('cpu')} in the run, {here['cpu']} here")
    versions = there.get("versions") or {}
    if here["versions"]["torch"] != versions.get("torch"):
        found.append(f"torch: {versions.get('torch')} in the run, {here['versions']['torch']} here")
    return found


def _replayed(
    run: Run, record: Record, trial: dict[str, Any], case: Case | None, *, exact: bool
) -> tuple[str, str]:
    """Return the verdict on one trial, and the reason."""
    item = _item(run, record, case)
    if isinstance(item, str):
        return "not replayed", item
    scenario = item.case.build()
    try:
        spec = optimizer_of(item, scenario)
        chosen = {} if spec is None else resolve(spec).chosen(record.hyperparameters)
        runner = TrialRunner(item, scenario, spec, lambda _: None)
        (again,) = runner.run([(chosen, trial["seed"])], "again")
    except SpecError as error:
        return "not replayed", str(error)
    said = different(trial, again) if exact else unlike(trial, again)
    return ("differs", said) if said else ("equal" if exact else "alike", "")


def _item(run: Run, record: Record, case: Case | None) -> Item | str:
    """Return the item of a record; why there is none as text."""
    if case is None:
        return "its case is in none of these suites"
    preset, scenario = str(run.about.get("preset")), case.build()
    device = run.about.get("device") or {}
    item = Item(
        case=case,
        optimizer=record.optimizer.removesuffix(f" on {record.architecture}"),
        preset=preset,
        seeds=max(1, record.seeds),
        device=str(device.get("type") or "cpu"),
        dtype=str(run.about.get("dtype") or "float32"),
        architecture=record.architecture,
        problem=digest(scenario, preset, case.batch),
    )
    known = from_json(to_json(identity(item, scenario)))  # as a record has it
    for name in POSED:
        if getattr(record, name) != known[name]:
            return f"its {name} is {getattr(record, name)}, that of the case is {known[name]}"
    return item


def different(trial: dict[str, Any], again: TrialResult) -> str:
    """Return the first number of a recorded trial that is another one now, as text; else empty."""
    now = again.plain()
    for name in ("status", "evaluations_to_target", "final_score"):
        if trial.get(name) != now[name]:
            return f"{name}: {trial.get(name)} in the record, {now[name]} now"
    curve = [list(point) for point in trial.get("curve") or []]
    fresh = now["curve"]
    for old, new in zip(curve, fresh, strict=False):
        if old != new:
            return f"curve: {old} in the record, {new} now"
    if curve and len(curve) != len(fresh):
        return f"curve: {len(curve)} points in the record, {len(fresh)} now"
    return ""


def unlike(trial: dict[str, Any], again: TrialResult) -> str:
    """Return what roundings do not explain in a trial of another machine, as text; else empty."""
    now = again.plain()
    if trial["status"] != now["status"]:
        return f"status: {trial['status']} in the record, {now['status']} now"
    old, new = trial["evaluations_to_target"], now["evaluations_to_target"]
    if old is not None and max(old, new) > EVALUATION_RATIO * min(old, new) + 1:
        return f"evaluations_to_target: {old} in the record, {new} now"
    curve = trial.get("curve") or []
    if curve and now["curve"]:
        first, fresh = curve[0][2], now["curve"][0][2]
        if None in {first, fresh}:
            apart = first is not fresh
        else:
            apart = abs(first - fresh) > START * max(abs(first), abs(fresh))
        if apart:
            return f"loss before the first step: {first} in the record, {fresh} now"
    return ""


def text(found: Replays) -> str:
    """Return the verdicts' counts, what is known of the machine, and each trial that differs."""
    counts = Counter(each.verdict for each in found.found)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = [f"{len(found.found)} of {found.trials} trials trained again: {said}"]
    lines += [f"another machine than the run's, so bits are not compared: {n}" for n in found.notes]
    rows = [
        [each.case, each.optimizer, f"seed {each.seed}", each.verdict, each.said]
        for each in found.found
        if each.said
    ]
    table = tabulate(rows, tablefmt="plain", disable_numparse=True)
    return "\n".join(map(printable, [*lines, *table.split("\n")] if rows else lines))


def chance_to_find(trials: int, forged: int, sample: int) -> float:
    """Return the probability that a sample without replacement holds one of the forged trials."""
    missed = 1.0
    for k in range(min(sample, trials)):
        missed *= max(0, trials - forged - k) / (trials - k)
    return 1 - missed
