"""Step times by the device's events against a profiler's, on an accelerator.

    python benchmarks/device_times.py [DEVICE]

Both see the same block of steps of one trial: the clock by two events, the profiler from the start
of the block's first kernel to the end of its last.
"""

import sys

import torch
from torch.autograd import DeviceType
from torch.profiler import profile

from gradbench import Trial
from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.base import Scenario
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.steps import Steps
from gradbench.training.clock import clock_for
from gradbench.training.loop import Training
from gradbench.training.random_streams import isolated

STEPS = 60


def compare(name: str, scenario: Scenario, device: str) -> None:
    """Print both times of a step and their ratio."""
    trial = Trial(
        scenario=scenario,
        optimizer="adam:lr=0.001",
        budget=1000,
        target_score=float("inf"),
        device=device,
    )
    with isolated(trial):
        training = Training(trial, TrialResult(0, Status.UNSOLVED))
        training.advance(64)  # warm, and at the edge of a chunk of data
        training.clock = clock_for(training.device)
        torch.accelerator.synchronize()
        with profile() as seen:
            training.advance(64 + STEPS)
            torch.accelerator.synchronize()
    (seconds, _), *_ = training.clock.blocks()
    kernels = [each for each in seen.events() if each.device_type is not DeviceType.CPU]
    start = min(each.time_range.start for each in kernels)
    end = max(each.time_range.end for each in kernels)
    profiled = (end - start) / 1e6
    print(
        f"{name}: {seconds / STEPS * 1e6:.1f} us by events, {profiled / STEPS * 1e6:.1f} us by the "
        f"profiler, ratio {seconds / profiled:.3f}; {training.clock.said()}"
    )


if __name__ == "__main__":
    where = (sys.argv[1:] or ["cuda"])[0]
    compare("parity d = 30", Parity(d=30, weight=15), where)
    compare("MLP", Steps(approach="end-to-end"), where)
