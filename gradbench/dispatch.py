"""Hands a session's items to its engine and takes what comes back; shows how far it is."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gradbench.live import LiveLine

if TYPE_CHECKING:
    from gradbench.engine import Chosen
    from gradbench.item import Item
    from gradbench.work import Answer, Surroundings

TRIES = 2
"""Times that an item is given to an engine that loses it."""

TICK = 0.05  # seconds between two looks at a future
KNOWN = 3
"""Items that must have ended before it is said how long the rest will take."""


class Dispatch:
    """The items of a session, by name: inline each runs when asked for, else all at once."""

    def __init__(self, live: LiveLine) -> None:
        self.live, self.name = live, "inline"
        self._chosen: Chosen | None = None
        self._around: Surroundings | None = None
        self._names: list[str] = []
        self._futures: dict[str, Any] = {}
        self._doing, self._ended = "", 0
        self._begun = time.monotonic()

    def choose(self, wanted: str, items: int, device: str, timeout: float | None) -> None:
        """Take the engine that the option says, for so many items on a device.

        Raises ValueError or ImportError, in one line, where there is none.
        """
        from gradbench.engine import choose
        from gradbench.work import Surroundings

        self._chosen = choose(wanted, items, device, timeout=timeout, tell=self._tell)
        self.name = self._chosen.name
        self._around = Surroundings.of_this_process(shared=self._chosen.shared)

    def begin(self, items: Sequence[tuple[str, "Item"]]) -> None:
        """Hand over all items, unless they run here."""
        self._begun = time.monotonic()
        if self.name != "inline":
            for name, item in items:
                self._submit(name, item)
            self._flush()

    def result(self, name: str, item: "Item") -> "Answer":
        """Return what an item came to; waits for it.

        One that its engine lost is tried once more, and is then a crashed record without a key.
        """
        lost: Exception = RuntimeError("it was never run")
        try:
            for _ in range(TRIES):
                try:
                    if name not in self._futures:
                        self._submit(name, item)
                        self._flush()
                    self._wait(name)
                    answer: Answer = self._futures[name].result()
                except Exception as error:  # noqa: BLE001  # whatever an engine raises
                    self._futures.pop(name, None)
                    lost = error
                else:
                    del self._futures[name]  # its engine may forget it
                    self._ended += 1
                    return answer
        finally:
            self.live.clear()
        from gradbench.running import crashed

        self._ended += 1
        return *crashed(item, lost, tries=TRIES), ""

    def close(self) -> None:
        """End what is still under way."""
        if self._chosen is not None:
            end = getattr(self._chosen.engine, "shutdown", None)
            if end is not None:
                end(wait=True, cancel_futures=True)
        self.live.close()

    def _submit(self, name: str, item: "Item") -> None:
        from gradbench.work import work

        if self._chosen is not None:
            self._names.append(name)
            self._futures[name] = self._chosen.engine.submit(work, item, self._around)

    def _flush(self) -> None:
        if self._chosen is not None:
            getattr(self._chosen.engine, "flush", lambda: None)()

    def _wait(self, name: str) -> None:
        """Show how far everything is until an item has ended."""
        self._doing = name
        while not self._futures[name].done():
            self._say()
            time.sleep(TICK)

    def _tell(self, place: int, text: str) -> None:
        with suppress(Exception):  # a line that cannot be shown ends nothing
            self._doing = f"{self._names[place]} {text}"
            self._say()

    def _say(self) -> None:
        if not self.live.due:
            return
        far = "" if self.name == "inline" else f"{self._far()}; "
        self.live.say(f"{far}{self._doing}")

    def _far(self) -> str:
        """Say how many items are done, run and wait, on how many workers, and for how long."""
        futures = list(self._futures.values())
        ready = sum(future.done() for future in futures)
        done, left = self._ended + ready, len(futures) - ready
        workers = None if self._chosen is None else self._chosen.workers()
        running = _running(futures)
        parts = [f"{done} done"]
        if running is None:
            parts += [f"{left} to go"]
        else:
            parts += [f"{running} running", f"{left - running} waiting"]
        if workers is not None:
            parts.append(f"{workers} worker{'s' * (workers != 1)}")
        parts.append(_remaining(done, left, time.monotonic() - self._begun))
        return ", ".join(parts)


def _running(futures: Sequence[Any]) -> int | None:
    """Return how many run; None where the engine's futures cannot tell."""
    if not all(callable(getattr(future, "running", None)) for future in futures):
        return None
    return sum(bool(future.running()) for future in futures)


def _remaining(done: int, left: int, seconds: float) -> str:
    """Say about how long the rest takes, if it is like what is done."""
    if done < KNOWN:
        return "time left unknown"
    more = seconds / done * left
    return f"about {more:.0f} s left" if more < 100 else f"about {more / 60:.0f} min left"
