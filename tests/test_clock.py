import time

import torch

from gradbench import clock
from gradbench.runner import run_trial
from gradbench.scenarios.parity import Parity
from gradbench.trial import Trial


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

        def sample(self, target, n, generator):
            time.sleep(0.05)
            return super().sample(target, n, generator)

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
    timer = clock.clock_for(torch.device("meta"))
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


def test_a_cpu_keeps_no_peak_of_device_memory():
    clock.reset_peak_memory(torch.device("cpu"))
    assert clock.peak_memory(torch.device("cpu")) is None
