"""The seconds that cases took in earlier runs on this kind of machine, from their records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradbench.results.record import entry, lines_of
from gradbench.results.run_folder import cpu_model
from gradbench.text import from_json

RUNS = 20
"""Maximum number of runs that are read, the newest first."""

Name = tuple[str, str]
"""A case, and an optimizer's name in comparisons."""


@dataclass(frozen=True)
class Kept:
    """Seconds that a case took in whole, and the numbers of seeds and of rates that it ran."""

    seconds: float
    seeds: int
    tuning: int


def kept_costs(reports: Path, preset: str, device: str, dtype: str) -> dict[Name, Kept]:
    """Return what each case took in the newest run in a folder that has it.

    Runs of another preset, type of device or number, or on another processor are left out, and
    what cannot be read.
    """
    found: dict[Name, Kept] = {}
    for about, file in _runs(reports):
        kind = about.get("device") or {}
        alike = (about.get("preset"), kind.get("type"), about.get("dtype"), about.get("cpu"))
        if alike != (preset, device, dtype, cpu_model()):
            continue
        for name, seconds, seeds in _costs(file):
            found.setdefault(name, Kept(seconds, seeds, int(about.get("tuning") or 0)))
    return found


def _runs(reports: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """Yield the content of run.json and the records file of the newest runs."""
    folders = sorted(reports.glob("2*"), key=lambda folder: folder.name, reverse=True)[:RUNS]
    for folder in folders:
        try:
            about = from_json((folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(about, dict) and (folder / "records.jsonl").is_file():
            yield about, folder / "records.jsonl"


def _costs(file: Path) -> Iterator[tuple[Name, float, int]]:
    """Yield the names, seconds and numbers of seeds of a file's records that have them."""
    for line in lines_of(file):
        try:
            data = from_json(line)
            seconds, seeds = data["timing"]["case_seconds"], data["seeds"]
            name = data["case"], entry(data["optimizer"], data["architecture"])
        except (ValueError, KeyError, TypeError):
            continue
        if data["outcome"] != "skipped" and isinstance(seconds, float) and seeds > 0:
            yield name, seconds, seeds
