import time

import pytest
import torch

from gradbench.scenarios.parity import Parity
from gradbench.training import clock
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial


def test_the_host_clock_times_what_lies_between_start_and_stop():
    timer = clock.clock_for(torch.device("cpu"))
    timer.start()
    time.sleep(0.02)
    timer.stop(4)
    time.sleep(0.05)
    timer.start()
    timer.stop(1)
    (first, steps), (second, one) = timer.blocks()
    assert (timer.name, steps, one) == ("perf_counter", 4, 1)
    assert first >= 0.02
    assert second < first


def test_evaluation_and_data_are_off_the_clock():
    class Slow(Parity):
        def evaluate(self, network, examples):
            time.sleep(0.05)
            return super().evaluate(network, examples)

        def sample(self, target, n, draws):
            time.sleep(0.05)
            return super().sample(target, n, draws)

    result = run_trial(Trial(scenario=Slow(d=5, weight=2), optimizer="sgd:lr=0.0", budget=5))
    slept = 0.05 * (len(result.curve) + 1)
    assert slept > 0.3
    assert sum(seconds for seconds, _ in result.blocks) < slept
    assert sum(steps for _, steps in result.blocks) == 5


class FakeEvent:
    """What torch.Event does, on a clock that the test moves."""

    now = 0.0
    waited = 0

    def __init__(self, device, enable_timing):
        assert enable_timing

    def record(self):
        self.at = FakeEvent.now

    def synchronize(self):
        FakeEvent.waited += 1

    def elapsed_time(self, end):
        return (end.at - self.at) * 1000  # milliseconds, as torch


def test_the_event_clock_waits_for_the_device_only_when_read(monkeypatch):
    monkeypatch.setattr(torch, "Event", FakeEvent)
    timer = clock.EventClock(torch.device("meta"))
    for seconds in (0.5, 0.25):
        timer.start()
        FakeEvent.now += seconds
        timer.stop(2)
        FakeEvent.now += 10  # an evaluation
    assert FakeEvent.waited == 0
    assert timer.blocks() == [(0.5, 2), (0.25, 2)]
    assert FakeEvent.waited == 2
    assert timer.blocks() == [(0.5, 2), (0.25, 2)]
    assert timer.name == "meta-event"


@pytest.mark.parametrize("missing", ["", "synchronize", "elapsed_time"])
def test_a_device_whose_events_tell_no_time_is_waited_for(missing, monkeypatch):
    """The device is busy for 20 ms after the last call of a block."""

    def refuse(*_):
        raise RuntimeError("the backend has no such thing")

    event = type("Event", (FakeEvent,), {missing: refuse} if missing else {})
    monkeypatch.setattr(torch, "Event", event)
    waits = []
    monkeypatch.setattr(
        torch.accelerator, "synchronize", lambda _: waits.append(1) or time.sleep(0.02)
    )
    clock.events_measure_time.cache_clear()
    timer = clock.clock_for(torch.device("meta"))
    clock.events_measure_time.cache_clear()
    if not missing:
        assert timer.name == "meta-event"
        return
    timer.start()
    assert len(waits) == 1
    timer.stop(3)
    ((seconds, steps),) = timer.blocks()
    assert (timer.name, steps, len(waits)) == ("meta-synchronized", 3, 2)
    assert seconds >= 0.02


def test_a_cpu_keeps_no_peak_of_device_memory():
    clock.reset_peak_memory(torch.device("cpu"))
    assert clock.peak_memory(torch.device("cpu")) is None


def test_the_host_clock_says_how_much_of_its_time_was_computed():
    timer = clock.clock_for(torch.device("cpu"))
    timer.start()
    time.sleep(0.05)  # as if another process had the core
    timer.stop(1)
    said = timer.extra_timing()
    assert said["cpu_share"] < 0.5
    assert said["wall_seconds"] == sum(seconds for seconds, _ in timer.blocks())
    assert said["launch_bound"] is None
    busy = clock.clock_for(torch.device("cpu"))
    busy.start()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    busy.stop(1)
    assert busy.extra_timing()["cpu_share"] > said["cpu_share"]


def test_launch_bound_is_where_the_host_takes_as_long_as_the_device(monkeypatch):
    """The host sleeps for 20 ms in each block; the device is busy for less, or for much more."""
    monkeypatch.setattr(torch, "Event", FakeEvent)
    for device_seconds, bound in ((0.02, True), (0.5, False)):
        timer = clock.EventClock(torch.device("meta"))
        timer.start()
        time.sleep(0.02)
        FakeEvent.now += device_seconds
        timer.stop(2)
        said = timer.extra_timing()
        assert said["launch_bound"] is bound
        assert said["wall_seconds"] >= 0.02


def test_a_contended_timing_is_said_and_left_out():
    from gradbench.protocol.run_item import timing
    from gradbench.results.record import Status, TrialResult

    def result(share):
        timed = {"wall_seconds": 1.0, "cpu_share": share, "launch_bound": None}
        return TrialResult(0, Status.UNSOLVED, clock="perf_counter", timed=timed)

    assert timing([result(0.99)], "cpu")["contended"] is False
    assert timing([result(0.99), result(0.5)], "cpu")["contended"] is True
    assert timing([result(None)], "cpu")["contended"] is None
    assert timing([result(0.99)], "cpu")["load"] >= 0
