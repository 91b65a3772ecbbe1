"""Submits a session's items to its engine, collects results, and shows progress."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gradbench.session.progress import LiveLine

if TYPE_CHECKING:
    from gradbench.engines.base import Chosen
    from gradbench.engines.worker import Answer, ControllerState
    from gradbench.protocol.item import Item

TRIES = 2
"""Maximum number of times that an item is submitted if its engine loses it."""

TICK = 0.05  # seconds between two polls of a future
KNOWN = 3  # items that must have ended before the remaining time is estimated


class Dispatch:
    """Runs a session's items, by name: inline each when its result is needed, else all at once.

    `keep` is called with each item's name and answer when it has ended, in any order.
    """

    def __init__(
        self, live: LiveLine, keep: Callable[[str, "Answer"], None] = lambda *_: None
    ) -> None:
        self.live, self.keep, self.name = live, keep, "inline"
        self._chosen: Chosen | None = None
        self._around: ControllerState | None = None
        self._names: list[str] = []
        self._items: dict[str, Item] = {}
        self._futures: dict[str, Any] = {}
        self._done: deque[str] = deque()
        """Items that have ended, added by their futures' callbacks, from any thread."""
        self._polled: set[str] = set()
        """Items to poll: `done()` of their futures is called."""
        self._tries: Counter[str] = Counter()
        self._answers: dict[str, Answer] = {}
        self._doing = ""
        self._begun = time.monotonic()

    def choose(
        self,
        wanted: str,
        items: int,
        device: str,
        timeout: float | None,
        entries: Iterable[Any] = (),
    ) -> None:
        """Choose the engine of the option for a number of items on a device.

        Raises ValueError or ImportError, in one line, where that engine cannot be used.
        """
        from gradbench.engines.base import choose, owner
        from gradbench.engines.worker import ControllerState

        owners = {owner(each) for each in entries}
        self._chosen = choose(
            wanted, items, device, timeout=timeout, progress=self._show_progress, owners=owners
        )
        self.name = self._chosen.name
        self._around = ControllerState.of_this_process(shared=self._chosen.shared)

    def begin(self, items: Sequence[tuple[str, "Item"]]) -> None:
        """Store all items, and submit them unless the engine is inline."""
        self._begun = time.monotonic()
        self._submit_all(dict(items))

    def _submit_all(self, items: dict[str, "Item"]) -> None:
        self._items |= items
        if self.name != "inline":
            for name in items:
                self._submit(name)
            self._flush()

    def result(self, name: str, item: "Item") -> "Answer":
        """Wait for an item; return its answer.

        An item that its engine loses is submitted once more. If it is lost again, its answer is a
        crashed record without a key; also if a plugin interrupts the wait, as time limits do.
        """
        self._items.setdefault(name, item)
        self._doing = name
        try:
            while name not in self._answers:
                if name not in self._futures:
                    self._submit(name)
                    self._flush()
                self._gather()
                if name not in self._answers:
                    self._say()
                    time.sleep(TICK)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # pytest's own failures are no Exception
            self._abandon(name)
            self._end(name, error)
        finally:
            self.live.clear()
        return self._answers[name]

    def results(self, items: dict[str, "Item"]) -> "dict[str, Answer]":
        """Run further items, side by side where the engine can, and return their answers."""
        self._submit_all(items)
        return {name: self.result(name, item) for name, item in items.items()}

    @property
    def spent(self) -> str:
        """What an item has changed in this process for good; empty if no items run in it."""
        from gradbench.engines.base import Inline

        engine = None if self._chosen is None else self._chosen.engine
        return engine.context.spent if isinstance(engine, Inline) else ""

    def close(self) -> None:
        """Collect the answers that are ready, shut the engine down, and close the live line."""
        if self._chosen is not None:
            with suppress(Exception):
                self._gather(again=False)
            end = getattr(self._chosen.engine, "shutdown", None)
            if end is not None:
                end(wait=True, cancel_futures=True)
        self.live.close()

    def _submit(self, name: str) -> None:
        from gradbench.engines.worker import run_in_worker

        if self._chosen is None:
            return
        self._tries[name] += 1
        self._names.append(name)
        try:
            future = self._chosen.engine.submit(run_in_worker, self._items[name], self._around)
        except Exception as error:  # noqa: BLE001  # whatever an engine raises
            future = Future()
            future.set_exception(error)
        self._futures[name] = future
        notify = getattr(future, "add_done_callback", None)
        if notify is None:  # engines' futures need not have it
            self._polled.add(name)
        else:
            notify(lambda _: self._done.append(name))

    def _flush(self) -> None:
        if self._chosen is not None:
            getattr(self._chosen.engine, "flush", lambda: None)()

    def _gather(self, *, again: bool = True) -> None:
        """Collect the answers of all items that have ended; submit lost items once more."""
        lost = False
        self._polled.update(self._done.popleft() for _ in range(len(self._done)))
        for name in [n for n in self._polled if n not in self._futures or self._futures[n].done()]:
            self._polled.remove(name)
            future = self._futures.pop(name, None)  # lets the engine release it
            if future is None:  # abandoned
                continue
            try:
                answer: Answer = checked(self._items[name], future.result())
            except Exception as error:  # noqa: BLE001  # whatever an engine raises
                if again and self._tries[name] < TRIES:
                    self._submit(name)
                    lost = True
                elif again:
                    self._end(name, error)
            else:
                self._answers[name] = answer
                self.keep(name, answer)
        if lost:
            self._flush()

    def _end(self, name: str, error: BaseException) -> None:
        """Record an item as crashed, with the reason."""
        from gradbench.protocol.run_item import crashed

        answer = *crashed(self._items[name], error, tries=self._tries[name]), ""
        self._answers[name] = answer
        self.keep(name, answer)

    def _abandon(self, name: str) -> None:
        """Cancel an item that is no longer awaited, if its engine can."""
        future = self._futures.pop(name, None)
        if self._chosen is not None and future is not None:
            getattr(self._chosen.engine, "abandon", lambda _: None)(future)

    def _show_progress(self, place: int, text: str) -> None:
        with suppress(Exception):  # a failed progress line must not end the run
            self._doing = f"{self._names[place]} {text}"
            self._say()

    def _say(self) -> None:
        if not self.live.due:
            return
        far = "" if self.name == "inline" else f"{self._far()}; "
        self.live.show(f"{far}{self._doing}")

    def _far(self) -> str:
        """Return the numbers of items done, running and waiting, workers, and time left."""
        futures = list(self._futures.values())
        ready = sum(future.done() for future in futures)
        done, left = len(self._answers) + ready, len(futures) - ready
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


def checked(item: "Item", answer: "Answer") -> "Answer":
    """Return the answer, checked to be of this item.

    Raises ValueError, in one line, where the engine has returned another item's answer.
    """
    record, results, trouble = answer
    pairs = [
        (record.case, item.case.id),
        (record.optimizer, item.optimizer),
        (record.architecture, item.architecture),
        (record.key, "" if trouble else item.key),
    ]
    for found, wanted in pairs:
        if found != wanted:
            raise ValueError(f"its answer is of another item: {found!r}, not {wanted!r}")
    return record, results, trouble


def _running(futures: Sequence[Any]) -> int | None:
    """Return the number of running futures; None where one has no method `running`."""
    if not all(callable(getattr(future, "running", None)) for future in futures):
        return None
    return sum(bool(future.running()) for future in futures)


def _remaining(done: int, left: int, seconds: float) -> str:
    """Return the estimated time left, as text, from the mean time of the finished items."""
    if done < KNOWN:
        return "time left unknown"
    more = seconds / done * left
    return f"about {more:.0f} s left" if more < 100 else f"about {more / 60:.0f} min left"
