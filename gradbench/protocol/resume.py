"""Resuming a run: the key of an item, and the finished records of an interrupted run."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from gradbench.architectures import factory as architectures
from gradbench.optimizers.factory import resolve
from gradbench.protocol.item import Item, optimizer_of
from gradbench.protocol.source_digest import CACHED, digest
from gradbench.results.record import PROTOCOL, Record, lines_of, parse
from gradbench.results.runs import RunError
from gradbench.results.weights import carried


def key(item: Item, machine: Mapping[str, Any]) -> str:
    """Return a hash of everything that an item's results depend on, as 64 hexadecimal digits.

    It covers the protocol, the item's settings, the sources of scenario, optimizer and architecture
    with their imports outside site-packages, and `machine`: versions, device, flags.
    """
    scenario = item.case.build()
    modules = [type(scenario).__module__]
    if item.architecture is not None:
        modules.append(architectures.module(item.architecture))
    if (spec := optimizer_of(item, scenario)) is not None:
        modules += resolve(spec).modules
    settings = asdict(item) | {"key": ""}
    everything = [PROTOCOL, settings, spec, dict(machine), _digest(tuple(modules))]
    return hashlib.sha256(json.dumps(everything, sort_keys=True, default=repr).encode()).hexdigest()


@cache
def _digest(modules: tuple[str, ...]) -> str:
    return digest(modules)


def forget() -> None:
    """Clear the caches of source digests, so that files are read again."""
    for cached in (_digest, *CACHED):
        cached.cache_clear()


def is_of(record: Record, item: Item) -> bool:
    """Return whether a record's fields match the item; its key is compared elsewhere."""
    said = (record.case, record.optimizer, record.architecture, record.problem, record.budget)
    case = item.case
    return said == (case.id, item.optimizer, item.architecture, item.problem, case.budget)


def finished(folder: Path) -> dict[str, Record]:
    """Return a run's records that a continued run may take over, by their keys.

    Lines that hold no record, such as the last one of a run that was killed, are skipped.
    Raises RunError where there is no run.
    """
    if not (folder / "run.json").is_file():
        raise RunError(f"{folder} is no run: it needs run.json")
    try:
        lines = list(lines_of(folder / "records.jsonl"))
    except FileNotFoundError:  # it was killed before its first record
        return {}
    found = {}
    for line in lines:
        try:
            record = parse(line)
        except ValueError:
            continue
        for trial in record.trials:
            carried(trial, folder)
        if record.key:
            found[record.key] = record
    return found
