"""One record as the cells and remarks that every report shows."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from gradbench.analysis.statistics import wilson
from gradbench.results.outcome import censored_median
from gradbench.results.record import Expectation, Outcome, Record, Status, or_zero
from gradbench.text import printable

FAILS_BY = "unsolved by "
HEADERS = ("case", "optimizer", "solved 95 %", "target", "ms/step", "signal", "outcome")


FOLDER = re.compile(r"[^\s+]*/(?=[^/\s]+\.py:)")


def shown(optimizer: str) -> str:
    """Return the spec without the folders of its files."""
    return printable(FOLDER.sub("", optimizer))


def distinct(optimizers: Sequence[str]) -> dict[str, str]:
    """Return each spec's displayed name: without folders, unless two would then be equal."""
    short = {spec: shown(spec) for spec in optimizers}
    names = list(short.values())
    return {spec: name if names.count(name) == 1 else spec for spec, name in short.items()}


def varying(records: Iterable[Record]) -> dict[str, set[str]]:
    """Return for each scenario the fields of its setting that differ between these records."""
    values: dict[str, dict[str, set[str]]] = {}
    for record in records:
        found = values.setdefault(record.scenario, {})
        for name, value in record.setting.items():
            found.setdefault(name, set()).add(repr(value))
    return {
        scenario: {name for name, seen in found.items() if len(seen) > 1}
        for scenario, found in values.items()
    }


def ran(record: Record) -> int:
    """Return the number of evaluation trials that were not unsupported."""
    return len(record.trials) - record.statuses.count(Status.UNSUPPORTED)


def solved(record: Record) -> str:
    """Return the seeds solved and all seeds, as `3/5`; `-` where no trial could be run."""
    return f"{record.solved}/{record.seeds}" if ran(record) else "-"


def to_target(record: Record) -> str:
    """Return the median evaluations to target; `>` and the budget where the median exceeds it."""
    if ran(record) == 0:
        return "-"
    times = [trial["evaluations_to_target"] for trial in record.trials]
    middle = censored_median(times) if times else None
    return f">{record.budget}" if middle is None else f"{middle:.0f}"


def milliseconds(record: Record) -> str:
    """Return the median step in milliseconds, with ~ where the device or core was shared."""
    seconds = (record.timing.get("seconds_per_step") or {}).get("median")
    beside = "~" if record.timing.get("contended") else ""
    return "-" if seconds is None else f"{beside}{seconds * 1000:.3g}"


def reading(entry: dict[str, Any]) -> str:
    """Return a probe's value; its bound, with `<` or `>`, where it is not resolved; else `-`."""
    value, bound = entry.get("value"), entry.get("bound")
    if value is None:
        return "-"
    if entry.get("resolved"):
        return f"{value:.2g}"
    if bound is not None:
        return f"<{bound:.2g}"
    low = (entry.get("interval") or [None])[0]
    return "-" if low is None else f">{low:.2g}"


def signal(record: Record) -> str:
    """Return the reading of the family's own probe at the start, which is recorded first."""
    return reading(record.informativeness[0]) if record.informativeness else "-"


def verdict(record: Record) -> str:
    """Return the outcome and the expectation; verified news and failures are in capitals.

    News that is not verified is a claim. What is too fast to be believed is marked.
    """
    if record.expectation == Expectation.LEARNER:
        return record.outcome
    word = record.outcome.upper() if record.outcome == Outcome.FAILED else record.outcome
    if record.outcome == Outcome.NEWS:
        word = "NEWS" if is_verified(record) else "claim"
    doubt = ", implausible" if record.implausible else ""
    return f"{word} ({record.expectation}){doubt}"


def remarks(record: Record) -> list[str]:
    """Return the remarks beside the cells: unusual statuses, notes, launch-bound, known causes."""
    odd = [s for s in record.statuses if s not in (Status.SOLVED, Status.UNSOLVED)]
    ends = [f"{odd.count(kind)} {kind}" for kind in dict.fromkeys(odd)]
    why = f": {record.reason}" if record.reason else ""
    waits = _waits(record)
    doubt = [f"implausible: {record.implausible}"] if record.implausible else []
    ended = [", ".join(ends) + why] if ends else []
    return [*ended, *doubt, *record.notes, *_no_signal(record), *waits, *failing(record)]


def _no_signal(record: Record) -> list[str]:
    """Return a remark where the family's own probe has no value, with its reason."""
    first = record.informativeness[:1]
    return [f"no signal: {r['note']}" for r in first if r.get("value") is None and r.get("note")]


def _waits(record: Record) -> list[str]:
    """Return a remark where a plain step waits for the host, with the time of a recorded one."""
    if not record.timing.get("launch_bound"):
        return []
    replayed = (record.timing.get("recorded_seconds_per_step") or {}).get("median")
    recorded = "" if replayed is None else f"; recorded, a step takes {replayed * 1000:.3g} ms"
    return [f"launch-bound: the device waits for the host{recorded}"]


def failing(record: Record) -> list[str]:
    """Return the suite's stated cause of failure, where this optimizer left the case unsolved."""
    asked = record.expectation in {Expectation.MAY, Expectation.NEVER}
    explained = asked and record.outcome == Outcome.XFAILED and record.why not in {"", "open"}
    return [FAILS_BY + record.why] if explained else []


def cells(record: Record) -> list[str]:
    """Return the record's cells, one for each of HEADERS."""
    low, high = wilson(record.solved, record.seeds) if record.seeds > 0 else (0.0, 1.0)
    interval = f" {100 * low:.0f}-{100 * high:.0f}" if ran(record) else ""
    return [
        record.case,
        shown(record.optimizer),
        f"{solved(record)}{interval}",
        to_target(record),
        milliseconds(record),
        signal(record),
        verdict(record),
    ]


def legend(records: list[Record]) -> str:
    """Return the explanation of the table's columns."""
    known = sorted({record.timing["clock"] for record in records if record.timing.get("clock")})
    clocks = f" by {', '.join(known)}" if known else ""
    heads = {r.family: r.informativeness[0]["probe"] for r in records if r.informativeness}
    parts = [f"{probe} ({family})" for family, probe in heads.items()]
    seconds = sum(or_zero(record.timing.get("probe_seconds")) for record in records)
    beside = any(record.timing.get("contended") for record in records)
    text = "\n~: beside other work on the device, left out of comparisons" if beside else ""
    text += f"\nsignal at the start of seed 0 (probes took {seconds:.1f} s): " if parts else ""
    text += ",\n  ".join(parts)
    return (
        "solved: evaluation seeds, with the Wilson 95 % interval in percent; target: median\n"
        f"gradient evaluations; ms/step: median training step{clocks}, evaluations excluded"
        f"{text}"
    )


def is_verified(record: Record) -> bool:
    """Whether a fresh process has confirmed what solved a case expected never to be solved."""
    return record.outcome == Outcome.NEWS and record.verification.get("verified") is True


def verification(record: Record) -> str:
    """Return whether news was verified, and what was found."""
    found = record.verification
    if not found:
        return "NOT VERIFIED: it was not trained again"
    return f"{'verified' if is_verified(record) else 'NOT VERIFIED'}: {found.get('said')}"


def news(records: list[Record]) -> list[str]:
    """Return one line per record that solved a case expected never to be solved, if verified."""
    return _solved_nevers([record for record in records if is_verified(record)])


def claims(records: list[Record]) -> list[str]:
    """Return one line per record that solved such a case and is not verified."""
    return _solved_nevers([record for record in records if not is_verified(record)])


def _solved_nevers(records: list[Record]) -> list[str]:
    return [
        f"{shown(record.optimizer)} solved {record.case} on {record.solved} of {record.seeds} "
        f"seeds (expected: never; section {record.section}); {verification(record)}"
        for record in records
        if record.outcome == Outcome.NEWS
    ]
