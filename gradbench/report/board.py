"""Static pages over many runs: an index of optimizers, a page per optimizer and one per case."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from gradbench.analysis.alike import unlike
from gradbench.analysis.statistics import wilson
from gradbench.report.html import environment, script, style
from gradbench.report.markdown import ran_on
from gradbench.report.rows import is_verified, ran, remarks, shown, to_target, verdict
from gradbench.results.record import Expectation, Outcome, Record
from gradbench.results.runs import Run, joined
from gradbench.text import write_whole


@dataclass(frozen=True)
class Page:
    """A page of the board: its title, and its file relative to the index."""

    title: str
    file: str


@dataclass(frozen=True)
class Entry:
    """One optimizer of one run: its page, its records, and what is known of the run.

    `verified` says how the run was verified, empty where it was not; `fingerprint` has the measured
    properties of `gradbench describe`, where the run's folder holds them.
    """

    page: Page
    spec: str
    ran_on: str
    verified: str
    records: dict[str, Record]
    fingerprint: list[dict[str, Any]]

    def solved(self, family: str | None = None) -> str:
        """Return the seeds solved of those run, in all or in one family; `-` for none."""
        own = [r for r in self.records.values() if family in {None, r.family} and ran(r)]
        return f"{sum(r.solved for r in own)}/{sum(r.seeds for r in own)}" if own else "-"

    @property
    def count(self) -> int:
        """The number of seeds solved; a share would favour who ran easy cases only."""
        return sum(r.solved for r in self.records.values() if ran(r))


def write(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """Write the pages of these runs into a folder, and return their paths, the index first.

    Raises RunError where the runs are not of the same protocol, preset and cases.
    """
    joined(runs)
    entries = _entries(runs)
    cases = _cases(entries)
    families = list(dict.fromkeys(record.family for record, _ in cases.values()))
    about = [*dict.fromkeys(entry.ran_on for entry in entries), *unlike([r.about for r in runs])]
    pages = {"index.html": _index(entries, cases, families, about)}
    for entry in entries:
        pages[entry.page.file] = _of_optimizer(entry, cases, families)
    for record, page in cases.values():
        pages[page.file] = _of_case(record, page, entries)
    for name in ("optimizers", "cases"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        write_whole(folder / name, text)
    return [folder / name for name in pages]


def _entries(runs: Sequence[Run]) -> list[Entry]:
    """Return every optimizer of every run, those that solve the most seeds first."""
    named = [(run, spec) for run in runs for spec in run.optimizers]
    specs = [spec for _, spec in named]
    found = []
    for run, spec in named:
        title = spec if specs.count(spec) == 1 else f"{spec} ({run.path.name})"
        own = [r for r in run.records if r.optimizer == spec]
        found.append(
            Entry(
                page=Page(shown(title), f"optimizers/{_file(title)}"),
                spec=spec,
                ran_on=ran_on(run.about),
                verified=run.verified,
                records={r.case: r for r in own},
                fingerprint=run.fingerprint(spec),
            )
        )
    return sorted(found, key=lambda entry: -entry.count)


def _cases(entries: Sequence[Entry]) -> dict[str, tuple[Record, Page]]:
    """Return a record and the page of each case that an optimizer attempted."""
    found: dict[str, tuple[Record, Page]] = {}
    for entry in entries:
        for case, record in entry.records.items():
            if record.expectation != Expectation.LEARNER and case not in found:
                found[case] = record, Page(case, f"cases/{_file(case)}")
    return found


def _file(title: str) -> str:
    """Return the name of a page's file: readable, and of its own for every title."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:60]
    return f"{readable}-{sha256(title.encode(errors='replace')).hexdigest()[:8]}.html"


def _shown(template: str, **values: Any) -> str:  # noqa: ANN401  # what a template shows
    """Return a page with the boards' style and script; text from records is escaped."""
    made = environment().get_template(template)
    return made.render(css=style(), script=script("board"), **values)


def _index(
    entries: Sequence[Entry],
    cases: dict[str, tuple[Record, Page]],
    families: Sequence[str],
    about: Sequence[str],
) -> str:
    rows = [
        (entry, [entry.solved(), *(entry.solved(family) for family in families)])
        for entry in entries
    ]
    shown_cases = [
        (record, page, _passing(case, entries)) for case, (record, page) in cases.items()
    ]
    return _shown("board.html", rows=rows, families=families, cases=shown_cases, about=about)


def _passing(case: str, entries: Sequence[Entry]) -> str:
    """Return how many optimizers pass a case, of those that ran it; news passes when verified."""
    own = [record for entry in entries if (record := entry.records.get(case)) and ran(record)]
    passed = sum(record.outcome == Outcome.PASSED or is_verified(record) for record in own)
    return f"{passed}/{len(own)}" if own else "-"


def _of_optimizer(
    entry: Entry, cases: dict[str, tuple[Record, Page]], families: Sequence[str]
) -> str:
    rows = [
        (entry.records[case], page, _numbers(entry.records[case]))
        for case, (_, page) in cases.items()
        if case in entry.records
    ]
    sums = [(family, entry.solved(family)) for family in families]
    return _shown("board_optimizer.html", entry=entry, rows=rows, sums=sums)


def _of_case(record: Record, page: Page, entries: Sequence[Entry]) -> str:
    rows = [
        (entry, _numbers(entry.records[record.case]))
        for entry in entries
        if record.case in entry.records
    ]
    setting = ", ".join(f"{name} = {value}" for name, value in record.setting.items())
    return _shown("board_case.html", record=record, page=page, rows=rows, setting=setting)


def _numbers(record: Record) -> dict[str, Any]:
    """Return the cells of one optimizer on one case."""
    low, high = wilson(record.solved, record.seeds) if record.seeds > 0 else (0.0, 1.0)
    rate = record.hyperparameters.get("lr")
    return {
        "solved": f"{record.solved}/{record.seeds}" if ran(record) else "unsupported",
        "share": record.solved / record.seeds if ran(record) else None,
        "interval": f"{100 * low:.0f} to {100 * high:.0f} %" if ran(record) else "-",
        "median": to_target(record),
        "rate": "-" if rate is None else f"{rate:g}",
        "verdict": verdict(record),
        "remarks": "; ".join(remarks(record)),
    }
