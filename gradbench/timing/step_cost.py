"""The cost of an optimizer's step alone, on parameters of real sizes, without a network.

A step must read every gradient and read and write every parameter. The time that the memory takes
for that, measured on this device in the same session, is the floor that a step is compared with.
"""

import functools
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.optimizers.factory import resolve
from gradbench.optimizers.stepping import call_step, set_mode
from gradbench.training.clock import peak_memory, reset_peak_memory

Shapes = Sequence[tuple[int, ...]]

TRAFFIC = 3
"""Fewest numbers that a step moves per parameter: gradient in, parameter in and out."""

COPIED = 2**26
"""Bytes of the buffer that is copied to measure the memory: more than caches hold."""

LONGEST = 5.0
"""Seconds after which no further step is taken, and that none may be expected to take."""

SMALLER = ((8, 1.0), (4, 1.5), (2, 1.5))
"""Shapes on which a step is tried first, as parts of the length, and the power of the number of
parameters with which its time is expected to grow: a decomposition's with the cube of the length,
from a length on that is not all overhead."""

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resnet() -> Shapes:
    """ResNet-20 for 32 x 32 images (He et al., arXiv:1512.03385, section 4.2): 0.27 M in 59."""
    shapes: list[tuple[int, ...]] = [(16, 3, 3, 3), (16,), (16,)]
    for before, width in ((16, 16), (16, 32), (32, 64)):
        for fan_in in (before, *[width] * 5):
            shapes += [(width, fan_in, 3, 3), (width,), (width,)]
    return [*shapes, (10, 64), (10,)]


def gpt() -> Shapes:
    """Six blocks of width 384 with 65 tokens and 256 positions (nanoGPT's smallest): 10.8 M."""
    width = 384
    shapes: list[tuple[int, ...]] = [(65, width), (256, width)]
    for _ in range(6):
        for fan_in, fan_out in ((width, 3 * width), (width, width)):
            shapes += [(fan_out, fan_in), (fan_out,)]
        for fan_in, fan_out in pairwise((width, 4 * width, width)):
            shapes += [(fan_out, fan_in), (fan_out,)]
        shapes += 4 * [(width,)]  # two layer norms
    return [*shapes, (width,), (width,)]


def matrix() -> Shapes:
    """One matrix of 1024 x 1024."""
    return [(1024, 1024)]


def many() -> Shapes:
    """Ten thousand vectors of 16 numbers: what a step costs per tensor."""
    return [(16,)] * 10_000


SETS = {"resnet": resnet, "gpt": gpt, "matrix": matrix, "many": many}


class StepCost:
    """An optimizer on parameters of given shapes, with random gradients.

    Raises UnsupportedError where the optimizer refuses them, SpecError for a wrong spec.
    """

    def __init__(self, spec: str, shapes: Shapes, device: str) -> None:
        self.device, factory = torch.device(device), resolve(spec)
        self.stream = torch.Generator(device).manual_seed(0)
        self.requirements = factory.requirements
        self.holder = nn.Module()
        for number, shape in enumerate(shapes):
            start = torch.randn(shape, generator=self.stream, device=self.device) / 10
            self.holder.register_parameter(f"p{number}", nn.Parameter(start))
        self.parameters = list(self.holder.parameters())
        self.numbers = sum(p.numel() for p in self.parameters)
        self.grads = [torch.empty_like(p) for p in self.parameters]
        self.optimizer: Optimizer = factory.build(self.holder, {}, steps=1000, examples=1000)
        set_mode(self.optimizer, self.requirements, "train")
        self.before = [p.detach().clone() for p in self.parameters]
        self.peak: int | None = None

    @property
    def why_not(self) -> str:
        """Why its steps cannot be taken without a network; empty where they can."""
        needs = self.requirements
        asks = [name for name in ("create_graph", "fused") if getattr(needs, name)]
        asks += ["a loss to go backward from"] if needs.loss_value and needs.forward_closure else []
        return f"its step needs a network: {', '.join(asks)}" if asks else ""

    def refresh(self) -> None:
        """Draw new gradients, and copy the parameters as they are before the step."""
        for p, grad, before in zip(self.parameters, self.grads, self.before, strict=True):
            grad.normal_(std=0.01, generator=self.stream)
            before.copy_(p.detach())
            p.grad = grad
        self._wait()

    def step(self) -> None:
        """Take a step and wait for its end; a closure, where needed, returns a constant."""
        call_step(self.optimizer, self.requirements, lambda: torch.ones(()))
        self._wait()

    def moved(self) -> bool:
        """Whether the last step changed every parameter, and all are finite."""
        pairs = zip(self.parameters, self.before, strict=True)
        return all(bool(p.isfinite().all()) and not torch.equal(p, b) for p, b in pairs)

    def state_bytes(self) -> int:
        """Return the bytes of all tensors that the optimizer keeps between steps."""
        seen: dict[int, int] = {}

        def collect(value: object) -> None:
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                seen[storage.data_ptr()] = storage.nbytes()
            elif isinstance(value, dict):
                for each in value.values():
                    collect(each)
            elif isinstance(value, list | tuple):
                for each in value:
                    collect(each)

        collect(self.optimizer.state_dict()["state"])
        return sum(seen.values())

    def measure(self) -> float:
        """Take a step and return its seconds.

        `peak` is then the step's peak memory in bytes, beyond the memory in use before it; None
        where the system does not report it.
        """
        before = _reset_peak(self.device)
        begin = time.perf_counter()
        self.step()
        seconds = time.perf_counter() - begin
        after = _peak(self.device)
        self.peak = None if before is None or after is None else max(0, after - before)
        return seconds

    def _wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


@functools.cache
def bandwidth(device: str) -> float:
    """Return the bytes per second that this device's memory moves, by copying a large buffer.

    The median of nine copies; bytes read and bytes written both count.
    """
    source = torch.ones(COPIED // 4, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(11):
        begin = time.perf_counter()
        target.copy_(source)
        if source.device.type != "cpu":
            torch.accelerator.synchronize(source.device)
        times.append(time.perf_counter() - begin)
    return 2 * COPIED / statistics.median(times[2:])


def floor(numbers: int, device: str) -> float:
    """Return the seconds that the memory takes for a step on a number of float32 values."""
    return TRAFFIC * 4 * numbers / bandwidth(device)


def over_floor(spec: str, shapes: Shapes, device: str) -> tuple[float | None, float]:
    """Return a step's seconds over the memory's, and the bytes of state per parameter.

    The seconds are the median of nine steps after three, of fewer where they take longer than
    `LONGEST`. The first is None where a step may take longer than that, by steps on shorter
    shapes (`SMALLER`). Raises ValueError where the step needs a network, and what the optimizer
    raises.
    """
    cost, seconds = StepCost(spec, shapes, device), list[float]()
    if cost.why_not:
        raise ValueError(cost.why_not)
    for part, power in SMALLER:
        small = StepCost(spec, [tuple(max(1, n // part) for n in s) for s in shapes], device)
        for _ in range(2):  # the first one makes the state
            small.refresh()
            taken = small.measure()
        if taken * (cost.numbers / small.numbers) ** power > LONGEST:
            return None, small.state_bytes() / small.numbers
    while len(seconds) < 12 and sum(seconds) < LONGEST:
        cost.refresh()
        seconds.append(cost.measure())
    least = floor(cost.numbers, device)
    return statistics.median(seconds[3:] or seconds[-1:]) / least, cost.state_bytes() / cost.numbers


def _reset_peak(device: torch.device) -> int | None:
    if device.type != "cpu":
        reset_peak_memory(device)
        return peak_memory(device)
    with suppress(OSError):
        CLEAR.write_text("5", encoding="ascii")
        return _resident("VmRSS")
    return None


def _peak(device: torch.device) -> int | None:
    return peak_memory(device) if device.type != "cpu" else _resident("VmHWM")


def _resident(name: str) -> int | None:
    """Return an entry of the process's status in bytes; None where the system has none."""
    with suppress(OSError):
        for line in STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return None


def cost_fields(cost: StepCost, seconds: float) -> dict[str, Any]:
    """Return the numbers of a step's cost, given its seconds."""
    least = floor(cost.numbers, str(cost.device))
    return {
        "parameters": cost.numbers,
        "tensors": len(cost.parameters),
        "seconds": seconds,
        "floor_seconds": least,
        "over_floor": seconds / least,
        "state_bytes_per_parameter": cost.state_bytes() / cost.numbers,
        "peak_bytes": cost.peak,
    }
