"""Seconds that training steps take, on the device and on the host.

The clock runs over stretches ("blocks") of forward, backward and optimizer step. Drawing data and
evaluating are off the clock. On a CPU a block is read from `time.perf_counter`; on an accelerator
two device events bracket it and are read at the next evaluation, so no step waits for the device.
"""

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
    """Return the clock for a device: `HostClock` for a CPU, `EventClock` for an accelerator."""
    return HostClock() if device.type == "cpu" else EventClock(device)


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
