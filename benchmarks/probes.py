"""What each probe costs and how precise it is: its time over a training step's, and its error.

    python benchmarks/probes.py

Probe and step alternate; a row prints the median of the paired ratios, and the ratio that the
probe's own count of examples would make it. "apart" is the spread of the value over ten seeds of
the probe, relative to its mean: what the error should be near.
"""

import statistics
import time
from collections.abc import Callable

import torch
from tabulate import tabulate

from gradbench import Scenario
from gradbench.probes import registry
from gradbench.probes.gradients import each_gradient, float64_copy
from gradbench.probes.reading import Reading
from gradbench.scenarios.allocation import Allocation
from gradbench.scenarios.curves import Curves
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.line_tuples import LineTuples
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic
from gradbench.scenarios.saturation import Saturation
from gradbench.torch_state import one_thread

BATCH = 128
EXAMPLES = 16 * BATCH
PAIRS = 7
STEPS = 10

LOOKS: list[tuple[Scenario, str]] = [
    (Parity(d=10, weight=5), registry.VARIANCE),
    (Parity(d=30, weight=15), registry.VARIANCE),
    (Periodic(d=10, r=2.0), registry.VARIANCE),
    (Saturation(depth=4), registry.VARIANCE),
    (Parity(d=10, weight=5), registry.SIGNAL),
    (Saturation(depth=4), registry.SIGNAL),
    (LineTuples(approach="decomposition", k=2), registry.SIGNAL),
    (LineTuples(k=2), registry.SIGNAL),
    (Allocation(d=100, k=10), "second moment"),
    (Curves(approach="convolution", n=30), registry.CONDITION),
    (Curves(approach="linear", n=30), registry.CONDITION),
    (Saturation(depth=4), registry.CONDITION),
    (Saturation(depth=4), registry.GAIN),
    (Saturation(depth=4), "alignment"),
]


def step(scenario: Scenario) -> Callable[[], None]:
    """Return a plain training step on one batch, in float32."""
    network = scenario.network(Draws(1))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
    draws = Draws(0)
    batch = scenario.sample(scenario.draw_target(draws), BATCH, draws)

    def once() -> None:
        optimizer.zero_grad()
        scenario.loss(network(batch[0]), batch[1]).mean().backward()
        optimizer.step()

    return once


def seconds(action: Callable[[], object], times: int = 1) -> float:
    """Return the CPU seconds of one call."""
    begin = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - begin) / times


def row(scenario: Scenario, name: str) -> list[str]:
    """Measure one probe on one scenario's untrained network."""
    torch.manual_seed(0)
    network, target = scenario.network(Draws(1)), scenario.draw_target(Draws(0))

    def look(seed: int = 0) -> Reading:
        names = [name, "none"] if name != "alignment" else [name]
        found = registry.measure(
            scenario, target, network, names=names[:1], examples=EXAMPLES, seed=seed
        )
        return found[0]

    once = step(scenario)
    look(), once()
    pairs = [(seconds(look), seconds(once, STEPS)) for _ in range(PAIRS)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    readings = [look(seed) for seed in range(10)]
    values = [r.value for r in readings if r.value is not None]
    mean = statistics.mean(values)
    apart = statistics.stdev(values) / abs(mean) if mean else 0.0
    error = statistics.median(r.error for r in readings) / abs(mean) if mean else 0.0
    axes = ", ".join(f"{k}={v}" for k, v in vars(scenario).items())
    return [
        name,
        f"{scenario.name} ({axes})",
        f"{ratio:.1f}",
        f"{readings[0].cost / BATCH:.0f}",
        f"{error:.1%}" if abs(mean) > error * abs(mean) else "unresolved",
        f"{apart:.1%}",
        readings[0].path,
    ]


def main() -> None:
    """Print the table."""
    headers = ("probe", "on", "time / step", "examples / batch", "error", "apart", "path")
    rows = [row(scenario, name) for scenario, name in LOOKS]
    print(tabulate(rows, headers, tablefmt="pipe", disable_numparse=True))
    torch.manual_seed(0)
    scenario = Parity(d=30, weight=15)
    network, once = scenario.network(Draws(1)), step(scenario)
    batch = scenario.sample({"support": torch.arange(15)}, BATCH, Draws(0))
    of = float64_copy(network, scenario.loss)
    each = statistics.median(
        seconds(lambda: each_gradient(of, batch)) / seconds(once, STEPS) for _ in range(PAIRS)
    )
    print(
        f"\nPer-example gradients of one batch, parity d=30, by vmap in float64: {each:.1f} steps."
    )


if __name__ == "__main__":
    with one_thread():
        main()
