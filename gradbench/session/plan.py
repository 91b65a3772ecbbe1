"""The plan of a session: its items, the resolved names, and the records of a resumed run."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from gradbench.results.record import Expectation, Outcome, Record
from gradbench.session.benchmark_timer import ReplayTimer
from gradbench.session.options import Entry, Options
from gradbench.text import error_line, first_line, printable

if TYPE_CHECKING:
    from gradbench.protocol.case import Case
    from gradbench.protocol.item import Item

NO_NUMBERS = ("load", "commit", "dirty")
"""Fields of run.json that change no numbers; source files have digests of their own."""

NO_OPTIMIZER = "no optimizer named: say which one, e.g. pytest suites --optimizer=adam"


@dataclass
class ItemRequest:
    """The case and the optimizer that a pytest item is to run."""

    KEY: ClassVar[pytest.StashKey["ItemRequest"]] = pytest.StashKey()

    case: "Case"
    entry: Entry
    clock: ReplayTimer
    attempted: bool = False


def request_of(item: pytest.Item) -> ItemRequest | None:
    """Return a pytest item's request; None where it is not an item of gradbench."""
    return item.stash.get(ItemRequest.KEY, None)


def waits_for_an_optimizer(item: pytest.Item) -> bool:
    """Whether an item runs only if an optimizer is named."""
    return request_of(item) is not None or item.get_closest_marker("step_cost") is not None


def why_idle(session: pytest.Session, options: Options, records: list[Record]) -> str:
    """Return why nothing ran in a session of only gradbench items; empty where something ran."""
    ours = [item for item in session.items if waits_for_an_optimizer(item)]
    only_collected = session.config.getoption("collectonly", default=False)
    if not ours or len(ours) < len(session.items) or only_collected:
        return ""
    if not options.optimizers:
        return NO_OPTIMIZER
    records = [record for record in records if record.expectation != Expectation.LEARNER]
    if any(record.outcome != Outcome.SKIPPED for record in records) or not records:
        return ""
    return f"nothing was attempted: every case is unsupported ({records[0].reason})"


def check_distinct(items: list[pytest.Item]) -> None:
    """Raise UsageError where two items have the same name, since it identifies their records."""
    seen: dict[str, str] = {}
    for item in items:
        if item.name in seen:
            raise pytest.UsageError(
                f"two cases are called {item.name}: in {seen[item.name]} and {item.location[0]}"
            )
        seen[item.name] = item.location[0]


def resolve_names(options: Options) -> None:
    """Resolve every optimizer and architecture.

    Raises ValueError or ImportError, in one line, for a name that does not exist.
    """
    from gradbench.architectures import factory as architectures
    from gradbench.engines.worker import exits_raised
    from gradbench.isolation.others_code import contained
    from gradbench.optimizers.factory import resolve
    from gradbench.protocol.resume import forget

    architectures.resolve.cache_clear()
    resolve.cache_clear()  # files may differ from those of an earlier session of this process
    forget()
    optimizers = [spec.text for spec in options.optimizers if spec.text != "paper"]
    if options.time_against is not None:
        optimizers.append(options.time_against.text)
    networks = [network.text for network in options.architectures if network is not None]
    for call, texts in ((resolve, optimizers), (architectures.resolve, networks)):
        for text in texts:
            with contained(), exits_raised():
                call(text)


def make_item(request: ItemRequest, options: Options, device: str) -> "Item":
    """Return the item of a request, without its digests."""
    from gradbench.protocol.item import Item

    return Item(
        case=request.case,
        optimizer=request.entry.optimizer,
        architecture=request.entry.architecture,
        preset=options.preset,
        seeds=options.seeds,
        tuning=options.tuning,
        device=device,
        dtype=options.dtype,
        probes=options.probes,
        stack=options.stack,
    )


def make_items(
    wanted: list[pytest.Item], options: Options, device: str, environment: dict[str, Any]
) -> dict[str, "Item"]:
    """Return the items by their pytest names, with the digests of their problems and their keys.

    `environment` is run.json's description of machine and settings, on which numbers depend.

    Raises UsageError, in one line, where a scenario cannot be built or drawn.
    """
    from gradbench.protocol.resume import key

    numbers = {name: value for name, value in environment.items() if name not in NO_NUMBERS}
    found = {}
    for node in wanted:
        if request := request_of(node):
            item = make_item(request, options, device)
            item = replace(item, problem=_problem(item))
            found[node.name] = replace(item, key=key(item, numbers))
    return found


def estimate_all(
    nodes: list[pytest.Item], options: Options, device: str, write: Callable[[str], None]
) -> None:
    """Write each item's gradient evaluations and estimated time, for --gb-dry-run."""
    from gradbench.protocol.dry_run import dry_run

    wanted = [(node.name, request) for node in nodes if (request := request_of(node))]
    if wanted and not options.optimizers:
        write(NO_OPTIMIZER)
    elif wanted:
        from gradbench.protocol.kept_costs import kept_costs

        kind = device.partition(":")[0]
        kept = kept_costs(options.report_dir, options.preset, kind, options.dtype)
        dry_run([(name, make_item(each, options, device)) for name, each in wanted], write, kept)


def resumed(items: dict[str, "Item"], folder: Path | None) -> dict[str, Record]:
    """Return the records of these items that the run in a folder has finished, by pytest name.

    Raises UsageError, in one line, where the folder holds no run.
    """
    from gradbench.protocol.resume import finished, is_of

    if folder is None:
        return {}
    try:
        done = finished(folder)
    except (ValueError, OSError) as error:
        raise pytest.UsageError(f"--gb-resume: {first_line(error)}") from None
    return {
        name: done[item.key]
        for name, item in items.items()
        if item.key in done and is_of(done[item.key], item)  # else its line was changed
    }


def _problem(item: "Item") -> str:
    from gradbench.protocol.problem_digest import digest

    case = item.case
    try:
        return digest(case.build(), item.preset, case.batch)
    except Exception as error:  # noqa: BLE001  # whatever a scenario's module raises
        raise pytest.UsageError(
            f"{case.id}: cannot draw {case.scenario}: {error_line(error)}"
        ) from None


def settings_of(options: Options, items: dict[str, "Item"]) -> dict[str, Any]:
    """Return the options and the problems as run.json holds them."""
    networks = ["paper" if spec is None else spec.text for spec in options.architectures]
    return {
        "preset": options.preset,
        "seeds": options.seeds,
        "tuning": options.tuning,
        "gate": options.gate,
        "probes": options.probes,
        "stack": options.stack,
        "optimizers": [spec.text for spec in options.optimizers],
        "architectures": networks,
        "problems": {item.case.id: item.problem for item in items.values()},
        "resumed": options.resume.name if options.resume else None,
    }


def heading(run: dict[str, Any], resumed: int, items: int) -> list[str]:
    """Return the header lines: optimizers, settings, device, engine and resumed cases."""
    device = run["device"]["name"] or run["cpu"]
    sweep = f"sweep of {run['tuning']} rates" if run["tuning"] > 0 else "no sweep"
    networks = run["architectures"]
    on = "" if networks == ["paper"] else f" on {', '.join(networks)}"
    lines = [
        *textwrap.wrap(f"gradbench: {printable(', '.join(run['optimizers']))}{on}", 100),
        (
            f"{run['preset']} preset, {run['seeds']} seeds, {sweep}; {run['device']['type']} "
            f"({device}), {run['engine']}, torch {run['versions']['torch']}"
        ),
    ]
    if run["resumed"]:
        lines.append(f"{resumed} of {items} cases taken over from {run['resumed']}")
    return lines
