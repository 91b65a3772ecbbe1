"""Hands a session's items to its engine and keeps what comes back; shows how far it is."""

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from gradbench.live import LiveLine

if TYPE_CHECKING:
    from gradbench.item import Item
    from gradbench.record import Record, TrialResult


class Engine(Protocol):
    """Where items run."""

    def submit(self, item: "Item") -> "Future[Any]":
        """Return a future of what `run_item` returns."""
        ...

    def close(self) -> None:
        """End what is still under way."""
        ...


class Dispatch:
    """The items of a session, by name: inline each runs when asked for, else all at once."""

    def __init__(self, live: LiveLine) -> None:
        self.live, self.name = live, "inline"
        self._engine: Engine | None = None
        self._names: list[str] = []
        self._futures: dict[str, Future[Any]] = {}

    def choose(self, wanted: str, items: int, device: str) -> None:
        """Take the engine that the option says, for so many items on a device."""
        from gradbench.engine import Inline, workers
        from gradbench.processes import Processes

        places = workers(wanted, items, device)
        self.name = f"processes:{len(places)}" if places else "inline"
        self._engine = Processes(places, self._tell) if places else Inline(self._tell)

    def begin(self, items: Sequence[tuple[str, "Item"]]) -> None:
        """Hand over all items, unless they run here."""
        if self.name != "inline":
            for name, item in items:
                self._submit(name, item)

    def result(self, name: str, item: "Item") -> tuple["Record", list["TrialResult"]]:
        """Return what an item came to; waits for it."""
        try:
            if name not in self._futures:
                self._submit(name, item)
            found: tuple[Record, list[TrialResult]] = self._futures[name].result()
            return found
        finally:
            self.live.clear()

    def close(self) -> None:
        """End what is still under way."""
        if self._engine is not None:
            self._engine.close()
        self.live.close()

    def _submit(self, name: str, item: "Item") -> None:
        if self._engine is not None:
            self._names.append(name)
            self._futures[name] = self._engine.submit(item)

    def _tell(self, place: int, text: str) -> None:
        with suppress(Exception):  # a line that cannot be shown ends nothing
            self._show(place, text)

    def _show(self, place: int, text: str) -> None:
        done = sum(future.done() for future in self._futures.values())
        count = f"{done}/{len(self._futures)} done, " if self.name != "inline" else ""
        self.live.say(f"{count}{self._names[place]} {text}")
