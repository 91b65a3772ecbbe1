"""The pytest plugin: collects the cases and hands them to the session. Imports no torch."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from gradbench import options
from gradbench.case import LEARNER
from gradbench.costs import CostTable
from gradbench.discover import suites
from gradbench.options import Contestant
from gradbench.replay import ReplayClock
from gradbench.screen import Screen
from gradbench.session import NO_OPTIMIZER, Asked, Session

if TYPE_CHECKING:
    from gradbench.case import Case
    from gradbench.record import Record

_SESSION = pytest.StashKey[Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    options.add(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options' syntax; names are resolved after collection."""
    config.addinivalue_line(
        "markers",
        "gradbench(cases): run the function once per case and optimizer; cases(preset) yields them",
    )
    config.addinivalue_line(
        "markers", "step_cost: times an optimizer's step by itself; run with -m step_cost"
    )
    config.addinivalue_line(
        "markers", "claim: trains by the paper's settings and asserts its claim; run with -m claim"
    )
    screen = Screen(config)
    session = Session(config, options.read(config), screen)
    config.stash[_SESSION] = session
    config.pluginmanager.register(session, "gradbench.session")
    config.pluginmanager.register(session.gate, "gradbench.gate")
    config.pluginmanager.register(screen, "gradbench.screen")
    if not session.options.optimizers:
        return
    if hasattr(config, "workerinput") or getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("gradbench runs its cases in one pytest process: leave out -n")
    if config.pluginmanager.hasplugin("benchmark"):
        # An item that was interrupted or never took a second step has no step time to show.
        config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used")
        _quiet_benchmark(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the paper's claims out, unless `-m` speaks of them."""
    waiting = [item for item in items if _waits(item, config)]
    if waiting:
        config.hook.pytest_deselected(items=waiting)
        items[:] = [item for item in items if item not in waiting]


WAITING = ("claim", "step_cost")
"""Marks of what runs only where `-m` speaks of it, or where it is named."""


def _waits(item: pytest.Item, config: pytest.Config) -> bool:
    """Whether an item is one of ours that waits to be asked for, and nobody did."""
    marks = [mark for mark in WAITING if item.get_closest_marker(mark)]
    named = config.args
    return (
        any(mark not in config.option.markexpr for mark in marks)
        and item.path.is_relative_to(suites())
        and not any("::" in name and item.name.startswith(name.split("::")[-1]) for name in named)
    )


def _quiet_benchmark(config: pytest.Config) -> None:
    """Spare the reader pytest-benchmark's own table unless one of its outputs is asked for.

    Its default columns do not fit a terminal; the measured step times are in our table.
    """
    option = config.option
    asked = ("json", "save", "autosave", "compare", "histogram", "verbose", "columns", "csv")
    if not any(getattr(option, f"benchmark_{name}", None) for name in asked):
        option.benchmark_quiet = True
    elif not option.benchmark_columns:
        option.benchmark_columns = ["median", "iqr", "min", "rounds"]


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Drop the momentary clock rate, which makes every comparison warn of another machine."""
    for key in [key for key in machine_info.get("cpu", {}) if key.startswith("hz_actual")]:
        del machine_info["cpu"][key]


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, obj: object
) -> list[pytest.Item] | None:
    """Turn a function marked `gradbench(cases=...)` into one item per case and optimizer."""
    mark = next((m for m in getattr(obj, "pytestmark", []) if m.name == "gradbench"), None)
    if mark is None or not isinstance(collector, pytest.Module) or not callable(obj):
        return None
    if "cases" not in mark.kwargs:
        raise collector.CollectError("write @pytest.mark.gradbench(cases=function_of_the_preset)")
    return list(_items(collector, obj, mark.kwargs["cases"]))


class CaseFunction(pytest.Function):
    """A test function whose name is the case's, with the optimizer in brackets.

    pytest 9.2 compares ids in parts when it reruns the last failures, and takes a name with
    brackets for one part; reading the id back from its text splits it as the cache does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        if hasattr(self, "_id"):
            self._id = type(self._id).parse(str(self._id))


def _items(
    collector: pytest.Module, function: object, cases: "Callable[[str], Iterator[Case]]"
) -> Iterator[pytest.Item]:
    session = collector.config.stash[_SESSION]
    specs = session.options.optimizers
    timed = collector.config.pluginmanager.hasplugin("benchmark")
    for case in cases(session.options.preset):
        contestants = session.options.contestants
        ids = {f"{case.id}[{label}]": each for label, each in contestants.items()}
        if not specs or not case.takes_optimizer:  # a learner runs once, whoever else runs
            ids = {case.id: Contestant(LEARNER, None)}
        for item_id, contestant in ids.items():
            item = CaseFunction.from_parent(collector, name=item_id, callobj=function)
            if not specs:
                item.add_marker(pytest.mark.skip(reason=NO_OPTIMIZER))
            clock = ReplayClock()
            if timed:
                item.add_marker(pytest.mark.benchmark(timer=clock, group=case.id))
                item.fixturenames.append("benchmark")
            item.stash[Asked.KEY] = Asked(case, contestant, clock)
            yield item


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for an `optimizer_spec` once per optimizer."""
    if "optimizer_spec" in metafunc.fixturenames:
        options = metafunc.config.stash[_SESSION].options
        specs = {label: each.optimizer for label, each in options.contestants.items()}
        skipped = pytest.param("", marks=pytest.mark.skip(reason=NO_OPTIMIZER), id="none")
        values = [pytest.param(spec, id=label) for label, spec in specs.items()]
        metafunc.parametrize("optimizer_spec", values or [skipped])


@pytest.fixture
def cost_table(request: pytest.FixtureRequest) -> CostTable:
    """Return the session's table of step costs."""
    return request.config.stash[_SESSION].costs


@pytest.fixture
def attempt(request: pytest.FixtureRequest) -> "Callable[[], Record]":
    """Have the optimizer attempt the case; the call returns the record where it may pass."""
    session = request.config.stash[_SESSION]
    timed = request.config.pluginmanager.hasplugin("benchmark")
    benchmark = request.getfixturevalue("benchmark") if timed else None
    return lambda: session.attempt(request.node, benchmark)
