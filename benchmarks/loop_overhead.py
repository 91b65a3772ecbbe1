"""What the runner adds to a training loop: one trial against a hand-written loop of the same.

    python benchmarks/loop_overhead.py

Both draw the same data in the same chunks and take the same steps; neither evaluates on the way.
The two alternate, and each row prints the median of the paired ratios.
"""

import math
import statistics
import time
from collections.abc import Callable

import torch
from tabulate import tabulate

from gradbench import Trial
from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.torch_state import one_thread
from gradbench.training.batches import CHUNK
from gradbench.training.loop import Training
from gradbench.training.trial import evaluation_steps

STEPS = 640
PAIRS = 15


def by_hand(trial: Trial, build: Callable[..., torch.optim.Optimizer]) -> float:
    """Train as a user would write it; return the CPU seconds."""
    target = trial.scenario.draw_target(Draws(1))
    data = Draws(2)
    network = trial.scenario.network(Draws(3))
    optimizer = build(network.parameters())
    begin = time.process_time()
    for step in range(STEPS):
        if step % CHUNK == 0:
            x, y = trial.scenario.sample(target, CHUNK * trial.batch, data)
            batches = list(zip(x.split(trial.batch), y.split(trial.batch), strict=True))
        inputs, labels = batches[step % CHUNK]
        optimizer.zero_grad()
        loss = (1 - labels * network(inputs)[:, 0]).clamp(min=0).mean()
        loss.backward()
        optimizer.step()
    return time.process_time() - begin


def by_runner(trial: Trial) -> float:
    """Train by the runner's own loop, its looks left out; return the CPU seconds."""
    result = TrialResult(trial.seed, Status.UNSOLVED)
    training = Training(trial, result)
    begin = time.process_time()
    for look in evaluation_steps(STEPS):
        training.advance(look)
    return time.process_time() - begin


def main() -> None:
    """Print the ratio per network and optimizer."""
    optimizers: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd:lr=0.01": lambda p: torch.optim.SGD(p, lr=0.01),
        "adam:lr=0.001": lambda p: torch.optim.Adam(p, lr=0.001),
    }
    rows = []
    for d in (5, 10, 30):
        for spec, build in optimizers.items():
            trial = Trial(
                scenario=Parity(d=d, weight=d // 2),
                optimizer=spec,
                budget=STEPS,
                target_score=math.inf,
            )
            pairs = [(by_runner(trial), by_hand(trial, build)) for _ in range(PAIRS + 1)][1:]
            ratios = [ours / bare for ours, bare in pairs]
            q1, median, q3 = statistics.quantiles(ratios, n=4)
            bare = statistics.median(bare for _, bare in pairs) / STEPS * 1e6
            rows.append([f"parity d = {d}", spec, f"{bare:.0f}", f"{median:.3f}"])
            rows[-1].append(f"{q1:.3f} to {q3:.3f}")
    print(tabulate(rows, ["case", "optimizer", "bare loop, us/step", "runner / bare", "quartiles"]))


if __name__ == "__main__":
    with one_thread():
        main()
