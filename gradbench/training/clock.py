"""Seconds that training steps take, on the device and on the host.

The clock runs over stretches ("blocks") of forward, backward and optimizer step. Drawing data and
evaluating are off the clock. On a CPU a block is read from `time.perf_counter`; on an accelerator
two device events bracket it and are read at the next evaluation, so no step waits for the device.
Where a device's events do not tell the time, the host's clock does, once the device is idle.
"""

import functools
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


LAUNCH_BOUND = 0.95
"""Ratio of host enqueue time to device time from which on steps count as launch-bound."""


class Clock(Protocol):
    """Times blocks of steps; `name` identifies the clock in records."""

    name: str

    def extra_timing(self) -> dict[str, Any]:
        """Return further timing of the blocks, as plain data; waits for the device.

        `wall_seconds`: the host's time for the same blocks. `cpu_share`: CPU time of this process
        per wall time; well below 1, other processes used the core. `launch_bound`: whether the host
        took about as long to enqueue the steps as the device to run them. None where not measured.
        """

    def start(self) -> None:
        """Begin a block."""

    def stop(self, steps: int) -> None:
        """End the block, which held that many steps."""

    def blocks(self) -> list[tuple[float, int]]:
        """Return `(seconds, steps)` of every block so far; waits for the device."""


class HostClock:
    """Times blocks by the host's monotonic clock."""

    name = "perf_counter"

    def __init__(self) -> None:
        self._blocks: list[tuple[float, int]] = []
        self._begin = self._computed = self._computing = 0.0

    def start(self) -> None:
        """Begin a block."""
        self._computing = time.process_time()
        self._begin = time.perf_counter()

    def stop(self, steps: int) -> None:
        """End the block, which held that many steps."""
        self._blocks.append((time.perf_counter() - self._begin, steps))
        self._computed += time.process_time() - self._computing

    def extra_timing(self) -> dict[str, Any]:
        """Return the wall time and the CPU time per wall time."""
        wall = sum(seconds for seconds, _ in self._blocks)
        share = min(1.0, self._computed / wall) if wall else None
        return {"wall_seconds": wall, "cpu_share": share, "launch_bound": None}

    def blocks(self) -> list[tuple[float, int]]:
        """Return `(seconds, steps)` of every block so far."""
        return self._blocks


class WaitingClock(HostClock):
    """Times blocks by the host's clock, and waits for the device at both ends of a block."""

    def __init__(self, device: "torch.device") -> None:
        super().__init__()
        self.name = f"{device.type}-synchronized"
        self._device = device

    def start(self) -> None:
        """Begin a block once the device is idle."""
        self._wait()
        super().start()

    def stop(self, steps: int) -> None:
        """End the block, which held that many steps, once the device has run them."""
        self._wait()
        super().stop(steps)

    def _wait(self) -> None:
        import torch

        torch.accelerator.synchronize(self._device)


class EventClock:
    """Times blocks by events on the device's stream."""

    def __init__(self, device: "torch.device") -> None:
        self.name = f"{device.type}-event"
        self._device = device
        self._blocks: list[tuple[float, int]] = []
        self._waiting: list[tuple[Any, Any, int]] = []
        self._begin: Any = None
        self._entered = self._called = self._enqueued = self._wall = 0.0

    def _mark(self) -> Any:  # noqa: ANN401
        import torch

        event = torch.Event(device=self._device, enable_timing=True)
        event.record()
        return event

    def start(self) -> None:
        """Begin a block."""
        self._entered = time.perf_counter()
        if not self._waiting:
            self._called = self._entered
        self._begin = self._mark()

    def stop(self, steps: int) -> None:
        """End the block, which held that many steps."""
        self._waiting.append((self._begin, self._mark(), steps))
        self._enqueued += time.perf_counter() - self._entered

    def blocks(self) -> list[tuple[float, int]]:
        """Return `(seconds, steps)` of every block so far; waits for the device."""
        for begin, end, steps in self._waiting:
            end.synchronize()
            self._blocks.append((begin.elapsed_time(end) / 1000, steps))
        if self._waiting:
            self._wall += time.perf_counter() - self._called
        self._waiting.clear()
        return self._blocks

    def extra_timing(self) -> dict[str, Any]:
        """Return the wall time until the device finished, and whether steps were launch-bound."""
        ran = sum(seconds for seconds, _ in self.blocks())
        bound = self._enqueued >= LAUNCH_BOUND * ran if ran else None
        return {"wall_seconds": self._wall, "cpu_share": None, "launch_bound": bound}


def clock_for(device: "torch.device") -> Clock:
    """Return the clock for a device: `HostClock` for a CPU, else `EventClock` where it can be."""
    if device.type == "cpu":
        return HostClock()
    return EventClock(device) if events_measure_time(device) else WaitingClock(device)


@functools.cache
def events_measure_time(device: "torch.device") -> bool:
    """Return whether the device's events can be waited for and tell the time between two."""
    import torch

    try:
        begin, end = (torch.Event(device=device, enable_timing=True) for _ in range(2))
        begin.record()
        end.record()
        end.synchronize()
        begin.elapsed_time(end)
    except Exception:  # noqa: BLE001  # each backend has errors of its own
        return False
    return True


def reset_peak_memory(device: "torch.device") -> None:
    """Start a new measurement of peak memory, where the device keeps one."""
    import torch

    if device.type != "cpu":
        getattr(torch.get_device_module(device), "reset_peak_memory_stats", lambda _: None)(device)


def peak_memory(device: "torch.device") -> int | None:
    """Return the most bytes allocated on the device since the reset; None where it keeps none."""
    import torch

    if device.type == "cpu":
        return None
    return getattr(torch.get_device_module(device), "max_memory_allocated", lambda _: None)(device)
