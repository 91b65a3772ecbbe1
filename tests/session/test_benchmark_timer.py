"""Measured step times that pytest-benchmark is shown."""

import cProfile
import sys
from types import SimpleNamespace

import pytest

from gradbench.results.record import Status, TrialResult
from gradbench.session.benchmark_timer import ReplayTimer


def test_a_run_can_be_profiled():
    """What pytest-benchmark does around a round: it sets the profiler aside and puts it back."""
    pause = pytest.importorskip("pytest_benchmark.fixture").PauseInstrumentation
    timer, seen = ReplayTimer(), []

    def pedantic(function, rounds=1):
        for _ in range(rounds):
            with pause():
                function()
            seen.append(timer())

    result = TrialResult(0, Status.SOLVED, blocks=[(9.0, 1), (6.0, 3), (4.0, 4)])
    profile = cProfile.Profile()
    profile.enable()
    before = sys.getprofile()
    try:
        timer.replay([result], SimpleNamespace(enabled=True, pedantic=pedantic))
        assert sys.getprofile() is before
    finally:
        profile.disable()
    assert seen == [2.0, 3.0]
