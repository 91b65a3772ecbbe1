"""Pytest items of a function marked `gradbench(cases=...)`: one per case and optimizer."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from gradbench.protocol.case import LEARNER
from gradbench.session.benchmark_timer import ReplayTimer
from gradbench.session.options import Entry
from gradbench.session.plan import NO_OPTIMIZER, ItemRequest
from gradbench.session.session import Session

NEVER = "its function never called attempt()"


class CaseFunction(pytest.Function):
    """Pytest item of one case and optimizer, named `case[optimizer]`.

    pytest 9.2 compares node ids in parts when it reruns the last failures, and treats a name with
    brackets as one part. Parsing the id from its text splits it as pytest's cache does.
    """

    def __init__(self, *args: Any, function_name: str, **kwargs: Any) -> None:  # noqa: ANN401
        self.function_name = function_name
        super().__init__(*args, **kwargs)
        if hasattr(self, "_id"):
            self._id = type(self._id).parse(str(self._id))

    def _getobj(self) -> Any:  # noqa: ANN401
        """Return the function of its module, or the method of a new instance of its class."""
        within = self.parent.obj if self.instance is None else self.instance  # type: ignore[union-attr]
        return getattr(within, self.function_name)

    def runtest(self) -> None:
        """Run the function; fail if it never called `attempt`, since no case ran then."""
        super().runtest()
        if not self.stash[ItemRequest.KEY].attempted:
            pytest.fail(NEVER, pytrace=False)


def arguments(function: Any) -> list[str]:  # noqa: ANN401
    """Return the names of a function's arguments, which name the fixtures that it uses."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def items(
    collector: pytest.Module | pytest.Class,
    name: str,
    function: Any,  # noqa: ANN401
    mark: pytest.Mark,
    session: Session,
) -> Iterator[pytest.Item]:
    """Yield the items of a marked function.

    Raises CollectError, in one line, where the function cannot run cases.
    """
    cases: Any = mark.kwargs.get("cases")
    if why := _refusal(collector, function, cases):
        raise collector.CollectError(f"{name}: {why}")
    specs = session.options.optimizers
    timed = collector.config.pluginmanager.hasplugin("benchmark")
    for case in cases(session.options.preset):
        entries = session.options.entries
        ids = {f"{case.id}[{label}]": each for label, each in entries.items()}
        if not specs or not case.takes_optimizer:  # a learner runs once for all of them
            ids = {case.id: Entry(LEARNER, None)}
        for item_id, entry in ids.items():
            item = CaseFunction.from_parent(collector, name=item_id, function_name=name)
            if any(d.params for ds in item._fixtureinfo.name2fixturedefs.values() for d in ds):  # noqa: SLF001
                raise collector.CollectError(f"{name}: {PARAMETERS}")
            if not specs:
                item.add_marker(pytest.mark.skip(reason=NO_OPTIMIZER))
            clock = ReplayTimer()
            if timed:
                item.add_marker(pytest.mark.benchmark(timer=clock, group=case.id))
                item.fixturenames.append("benchmark")
            item.stash[ItemRequest.KEY] = ItemRequest(case, entry, clock)
            yield item


PARAMETERS = (
    "a function with cases takes its parameters from them: instead of parametrize, or of fixtures "
    "with params, yield one case for each"
)


def _refusal(collector: pytest.Module | pytest.Class, function: Any, cases: Any) -> str:  # noqa: ANN401
    """Return why a marked function cannot be an item; empty where it can."""
    if not callable(cases):
        return "write @pytest.mark.gradbench(cases=function_of_the_preset)"
    marks = [*getattr(function, "pytestmark", []), *collector.iter_markers()]
    if any(mark.name == "parametrize" for mark in marks):
        return PARAMETERS
    if not {"attempt", "request"} & set(arguments(function)):
        return "a function with cases takes the fixture attempt, and calls it"
    return ""
