"""Stacked trials against one after another, in one process on one thread; and the rule's cut.

    python benchmarks/stacking.py [quick | standard | paper | cut | many | scaling] [DEVICE]

`quick`, `standard` and `paper` print, for one case of each network of a preset, how much faster
its sweep (five rates on a seed) and its evaluation (five seeds at a rate) train together, with
plain SGD and Adam. `cut` does so for wider and wider layers. Each number is a median of paired
ratios. `many` holds 70 trials, seven rates on ten seeds, looks included, against 70 sequential
runs, of which it takes fourteen, half before and half after.
`scaling` prints the time per trial and step from 10 to 10,000 trials.
"""

import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

import torch
from tabulate import tabulate

from gradbench import Trial
from gradbench.engines.worker import keep_memory
from gradbench.protocol.case import Case
from gradbench.protocol.discovery import cases, suites
from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.base import Scenario
from gradbench.scenarios.curves import Curves
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.steps import Steps
from gradbench.torch_state import one_thread
from gradbench.training.loop import Training
from gradbench.training.random_streams import isolated
from gradbench.training.runner import run
from gradbench.training.stack.layers import can_stack
from gradbench.training.stack.loop import Stack
from gradbench.training.state import TrialState

RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
STEPS = 64
PAIRS = 3
DEVICE = (sys.argv[2:] or ["cpu"])[0]


def networks(preset: str) -> Iterator[tuple[Case, int]]:
    """Yield one case per network that can be stacked, and its weights times examples."""
    seen = set()
    for case in cases([suites()], preset):
        if not case.takes_optimizer:
            continue
        network = case.build().network(Draws(0))
        key = (case.scenario, case.batch, tuple(p.shape for p in network.parameters()))
        if key not in seen and can_stack(network):
            seen.add(key)
            yield case, case.batch * sum(p.numel() for p in network.parameters())


def trials(  # noqa: PLR0913, PLR0917  # all that a trial has
    scenario: Scenario, spec: str, batch: int, rates: Sequence[float], seeds: range, on: str = ""
) -> list[Trial]:
    """Return a trial per rate and seed that no score ends."""
    return [
        Trial(
            scenario=scenario,
            optimizer=spec,
            seed=seed,
            budget=10 * STEPS,
            batch=batch,
            target_score=math.inf,
            hyperparameters={"lr": rate},
            architecture=on or None,
            device=DEVICE,
        )
        for rate in rates
        for seed in seeds
    ]


def alone(chosen: list[Trial]) -> float:
    """Train one after another without looks; return the seconds of the steps."""
    seconds = 0.0
    for trial in chosen:
        with isolated(trial):
            training = Training(trial, TrialResult(trial.seed, Status.UNSOLVED))
            begin = time.perf_counter()
            training.advance(STEPS)
            wait()
            seconds += time.perf_counter() - begin
    return seconds


def wait() -> None:
    """Wait for the device, where it is not the host itself."""
    if DEVICE != "cpu":
        torch.accelerator.synchronize()


def stacked(chosen: list[Trial]) -> float:
    """Train together without looks; return the seconds of the steps."""
    with isolated(chosen[0]):
        every = [TrialState(trial, TrialResult(trial.seed, Status.UNSOLVED)) for trial in chosen]
        stack = Stack(every)
        begin = time.perf_counter()
        stack.advance(STEPS)
        wait()
        return time.perf_counter() - begin


def compared(chosen: dict[str, list[Trial]]) -> list[str]:
    """Return how much faster each list of trials is together than one after another."""
    row = []
    for each in chosen.values():
        ratios = [alone(each) / stacked(each) for _ in range(PAIRS)]
        row.append(f"{statistics.median(ratios):.2f}")
    return row


HEADERS = ["case", "optimizer", "M numbers", "sweep", "seeds"]


def by_network(preset: str) -> None:
    """Print how much faster the sweep and the evaluation train together."""
    rows = []
    for case, numbers in networks(preset):
        for spec in ("sgd", "adam"):
            scenario = case.build()
            chosen = {
                "sweep": trials(scenario, spec, case.batch, RATES, range(1)),
                "seeds": trials(scenario, spec, case.batch, (1e-3,), range(5)),
            }
            rows.append([case.id, spec, f"{numbers / 1e6:.2f}", *compared(chosen)])
            print(*rows[-1], file=sys.stderr, flush=True)
    print(tabulate(rows, HEADERS, tablefmt="github"))


def cut() -> None:
    """Print the same for wider and wider layers: where a stack stops to pay."""
    rows = []
    for width in (50, 100, 200, 300, 450, 700):
        for spec in ("sgd", "adam"):
            on = f"mlp:width={width},depth=2"
            chosen = {
                "sweep": trials(Parity(d=30, weight=15), spec, 128, RATES, range(1), on),
                "seeds": trials(Parity(d=30, weight=15), spec, 128, (1e-3,), range(5), on),
            }
            numbers = 128 * (31 * width + (width + 1) * width + width + 1)
            rows.append([f"30-{width}-{width}-1", spec, f"{numbers / 1e6:.1f}", *compared(chosen)])
            print(*rows[-1], file=sys.stderr, flush=True)
    print(tabulate(rows, HEADERS, tablefmt="github"))


def many() -> None:
    """Print 70 trials together against 70 sequential runs, looks included."""
    problems = {
        "parity d = 10": (Parity(d=10, weight=5), 128, 4000),
        "parity d = 30": (Parity(d=30, weight=15), 128, 4000),
        "three-tap filter": (Curves(approach="convolution"), 128, 4000),
        "MLP 100-100-100-100-1": (Steps(approach="end-to-end"), 256, 1000),
    }
    rates = tuple(10.0**-k for k in range(1, 8))
    rows = []
    for name, (scenario, batch, budget) in problems.items():
        for spec in ("sgd", "adam"):
            chosen = [
                Trial(
                    scenario=scenario,
                    optimizer=spec,
                    seed=seed,
                    budget=budget,
                    batch=batch,
                    target_score=math.inf,
                    hyperparameters={"lr": rate},
                    device=DEVICE,
                )
                for rate in rates
                for seed in range(10)
            ]
            before = timed(chosen[::10], "off")  # seven of the 70, whose mean is that of all
            together = timed(chosen, "on")
            one = 5 * (before + timed(chosen[1::10], "off"))
            rows.append([name, spec, f"{one:.0f}", f"{together:.1f}", f"{one / together:.1f}"])
            print(*rows[-1], file=sys.stderr, flush=True)
    headers = ["case", "optimizer", "70 runs, s", "stack, s", "times"]
    print(tabulate(rows, headers, tablefmt="github"))


def timed(chosen: Sequence[Trial], mode: str) -> float:
    """Run trials as `--gb-stack` would; return the seconds. Says so where another way was taken."""
    begin = time.perf_counter()
    results = run(chosen, stack=mode)
    seconds = time.perf_counter() - begin
    if results[0].fallback:
        print(results[0].fallback)
    return seconds


def scaling() -> None:
    """Print the time of a step per trial, from 10 to 10,000 trials of a parity of 5 bits."""
    rows = []
    for count in (10, 100, 1000, 10_000):
        chosen = trials(Parity(d=5, weight=2), "adam", 128, (1e-3,), range(count))
        begin = time.perf_counter()
        with isolated(chosen[0]):
            for trial in chosen:
                TrialState(trial, TrialResult(trial.seed, Status.UNSOLVED))
        made = time.perf_counter() - begin
        seconds = stacked(chosen)
        row = [count, f"{seconds / count / STEPS * 1e6:.1f}", f"{made / count * 1e3:.2f}"]
        rows.append(row)
        print(*row, file=sys.stderr, flush=True)
    print(
        tabulate(rows, ["trials", "us per trial and step", "ms to set one up"], tablefmt="github")
    )


if __name__ == "__main__":
    what = (sys.argv[1:] or ["quick"])[0]
    torch.manual_seed(0)
    keep_memory()  # as the processes do that train
    with one_thread():
        {"cut": cut, "many": many, "scaling": scaling}.get(what, lambda: by_network(what))()
