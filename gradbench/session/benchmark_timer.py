"""A timer that replays measured step times to pytest-benchmark."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradbench.results.record import TrialResult


class ReplayTimer:
    """A timer that shows measured durations to pytest-benchmark, one per round."""

    __name__ = "measured"

    def __init__(self) -> None:
        self._now = 0.0
        self._durations: list[float] = []

    def __call__(self) -> float:
        """Return the seconds replayed so far."""
        return self._now

    def replay(self, results: "list[TrialResult]", benchmark: Any) -> None:  # noqa: ANN401
        """Replay the step times of the trials' timed blocks to the benchmark, one per round.

        A step time is a block's seconds divided by its steps; each trial's first block is left
        out. Nothing is replayed where the benchmark is disabled or no trial has a second block.
        """
        self._durations = [
            s / n for result in reversed(results) for s, n in reversed(result.blocks[1:])
        ]
        if self._durations and benchmark is not None and benchmark.enabled:
            with _no_profiler():
                benchmark.pedantic(self._advance, rounds=len(self._durations))

    def _advance(self) -> None:
        if self._durations:
            self._now += self._durations.pop()


@contextmanager
def _no_profiler() -> Iterator[None]:
    """Pause cProfile, which pytest-benchmark would put back by `sys.setprofile`: that is an error.

    From Python 3.12 on cProfile is no profile function, and nothing need be paused.
    """
    profiler: Any = sys.getprofile()
    if profiler is None or callable(profiler):
        yield
        return
    profiler.disable()
    try:
        yield
    finally:
        profiler.enable()
