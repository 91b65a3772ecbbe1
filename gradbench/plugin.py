"""The pytest plugin: without an option or case of gradbench it does and imports next to nothing."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from _pytest.unittest import TestCaseFunction

from gradbench.session import declared_options

if TYPE_CHECKING:
    from gradbench.results.record import Record
    from gradbench.session.session import Session
    from gradbench.timing.cost_table import CostTable

_SESSION = pytest.StashKey["Session"]()

MARK = "gradbench"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    declared_options.add(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options' syntax where one is given; names are resolved after collection."""
    config.addinivalue_line(
        "markers",
        "gradbench(cases=...): run the function once per case and optimizer; cases(preset) yields "
        "them",
    )
    config.addinivalue_line(
        "markers", "step_cost: times an optimizer's step alone; run with -m step_cost"
    )
    config.addinivalue_line(
        "markers", "claim: trains by the paper's settings and asserts its claim; run with -m claim"
    )
    config.addinivalue_line("markers", "paper: cases of the paper's own experiments")
    config.addinivalue_line("markers", "beyond: cases of failures that the paper does not have")
    if declared_options.given(config):
        _session(config)


def _session(config: pytest.Config) -> "Session":
    """Return gradbench's session within this pytest session, created at the first call."""
    if _SESSION in config.stash:
        return config.stash[_SESSION]
    from gradbench.session.options import read
    from gradbench.session.progress import Screen
    from gradbench.session.session import Session

    screen = Screen(config)
    session = config.stash[_SESSION] = Session(config, read(config), screen)
    for plugin, name in ((session, "session"), (session.comparisons, "gate"), (screen, "screen")):
        config.pluginmanager.register(plugin, f"gradbench.{name}")
    if not session.options.optimizers:
        return session
    spread = config.getoption("dist", "no") != "no" and config.getoption("tx", None)
    if hasattr(config, "workerinput") or config.getoption("numprocesses", None) or spread:
        raise pytest.UsageError(
            "gradbench runs its cases in one pytest process: leave out -n and --tx"
        )
    if config.pluginmanager.hasplugin("benchmark"):
        # An item that was interrupted or never took a second step has no step time to show.
        config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used")
        _quiet_benchmark(config)
    return session


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the paper's claims and step costs, unless `-m` or a node id names them.

    Raises UsageError where a method of a unittest.TestCase is marked `gradbench`.
    """
    for item in items:
        if isinstance(item, TestCaseFunction) and any(m.name == MARK for m in item.own_markers):
            raise pytest.UsageError(
                f"{item.nodeid}: a method of unittest.TestCase takes no fixtures: use a plain class"
            )
    marked = [item for item in items if any(map(item.get_closest_marker, WAITING))]
    waiting = [item for item in marked if _waits(item, config)]
    if waiting:
        config.hook.pytest_deselected(items=waiting)
        items[:] = [item for item in items if item not in waiting]


WAITING = ("claim", "step_cost")
"""Marks of built-in items that run only where `-m` or a node id names them."""


def _waits(item: pytest.Item, config: pytest.Config) -> bool:
    """Whether a marked item is of the built-in suites, and named neither by `-m` nor by id."""
    from gradbench.protocol.discovery import suites

    marks = [mark for mark in WAITING if item.get_closest_marker(mark)]
    named = config.args
    return (
        any(mark not in config.getoption("markexpr", "") for mark in marks)
        and item.path.is_relative_to(suites())
        and not any("::" in name and item.name.startswith(name.split("::")[-1]) for name in named)
    )


def _quiet_benchmark(config: pytest.Config) -> None:
    """Suppress pytest-benchmark's own table unless one of its outputs is requested.

    Its default columns do not fit a terminal; the measured step times are in gradbench's table.
    """
    option = config.option
    asked = ("json", "save", "autosave", "compare", "histogram", "verbose", "columns", "csv")
    if not any(getattr(option, f"benchmark_{name}", None) for name in asked):
        option.benchmark_quiet = True
    elif not option.benchmark_columns:
        option.benchmark_columns = ["median", "iqr", "min", "rounds"]


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Drop the momentary clock rate, which makes every comparison warn of another machine."""
    if _SESSION in config.stash:
        for key in [key for key in machine_info.get("cpu", {}) if key.startswith("hz_actual")]:
            del machine_info["cpu"][key]


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[pytest.Item] | None:
    """Turn a function under the mark `gradbench(cases=...)` into an item per case and optimizer.

    The mark may be on the function, its class or its module. On a class or module it applies only
    to the tests with the argument `attempt`.
    """
    if not callable(obj) or inspect.isclass(obj):
        return None
    own = next((m for m in getattr(obj, "pytestmark", []) if m.name == MARK), None)
    mark = own or collector.get_closest_marker(MARK)
    if mark is None:
        return None
    from gradbench.session.collection import arguments, items

    if own is None and not (collector.istestfunction(obj, name) and "attempt" in arguments(obj)):
        return None
    return list(items(collector, name, obj, mark, _session(collector.config)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests with the argument `optimizer_spec`: one per optimizer."""
    if "optimizer_spec" in metafunc.fixturenames:
        from gradbench.session.plan import NO_OPTIMIZER

        options = _session(metafunc.config).options
        specs = {label: each.optimizer for label, each in options.entries.items()}
        skipped = pytest.param("", marks=pytest.mark.skip(reason=NO_OPTIMIZER), id="none")
        values = [pytest.param(spec, id=label) for label, spec in specs.items()]
        metafunc.parametrize("optimizer_spec", values or [skipped])


@pytest.fixture
def cost_table(request: pytest.FixtureRequest) -> "CostTable":
    """Return the session's table of step costs."""
    return _session(request.config).costs


@pytest.fixture
def attempt(request: pytest.FixtureRequest) -> "Callable[[], Record]":
    """Return the function that runs the case; it returns the record where the item may pass."""
    session = _session(request.config)
    timed = request.config.pluginmanager.hasplugin("benchmark")
    benchmark = request.getfixturevalue("benchmark") if timed else None
    return lambda: session.attempt(request.node, benchmark)
