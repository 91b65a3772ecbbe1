"""Figure 3 at its own size, and why k = 2 leaves its plateau or not: `make figure3`.

    python benchmarks/figure3.py [--device=cuda] [--minutes=60] [--jobs=8]

Trains the convolutional N1 on tuples of line images by the script's Adam, batches of 200. First the
figure: k = 1 to 4, end-to-end (20,000 evaluations) and with decomposition (2,500), the script's
start, 500,000 stored tuples in one order, three seeds. Then k = 2 end-to-end for 40,000 evaluations
from both starts, on fresh and on stored tuples, five seeds each. A trial ends once it has scored
0.9 at two looks in a row.

Appends a line per trial to benchmarks/figure3.jsonl and goes on where it stopped: what stands there
is not run again. `escape` is the first look at a score of 0.5 or more, None where there was none.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from gradbench.scenarios.line_tuples import LineTuples
from gradbench.torch_state import one_thread
from gradbench.training.runner import run
from gradbench.training.trial import Trial

FILE = Path(__file__).with_suffix(".jsonl")
STORED = 500_000
BUDGET = {"end-to-end": 20_000, "decomposition": 2_500}
Plan = dict[str, Any]


def planned() -> Iterator[Plan]:
    """Yield every trial: the figure's with decomposition, those end-to-end, the question's."""
    for approach in ("decomposition", "end-to-end"):
        for seed in range(3):
            for k in (1, 2, 3, 4):
                kind = {"part": "figure", "start": "script", "stored": STORED}
                yield {
                    **kind,
                    "approach": approach,
                    "k": k,
                    "seed": seed,
                    "budget": BUDGET[approach],
                }
    for seed in range(5):
        for start in ("fan-in", "script"):
            for stored in (0, STORED):
                kind = {"part": "escape", "start": start, "stored": stored}
                yield {**kind, "approach": "end-to-end", "k": 2, "seed": seed, "budget": 40_000}


def train(plan: Plan, device: str) -> Plan:
    """Run one trial to its end, or until it is solved, and return what came of it."""
    scenario = LineTuples(
        approach=plan["approach"], k=plan["k"], n1="convolution", start=plan["start"]
    )
    begin = time.perf_counter()
    trial = Trial(
        scenario=scenario,
        optimizer=scenario.published,
        seed=plan["seed"],
        budget=plan["budget"],
        batch=200,
        preset="paper",
        device=device,
        stored=plan["stored"],
    )
    with one_thread():
        (result,) = run([trial])
    if result.reason is not None:
        raise RuntimeError(f"{plan}: {result.status}: {result.reason}")
    escape = next((look for look, score, _ in result.curve if score >= 0.5), None)
    return plan | {
        "status": result.status.value,
        "escape": escape,
        "score": result.final_score,
        "evaluations": result.gradient_evaluations,
        "details": result.details,
        "curve": [[look, round(score, 4)] for look, score, _ in result.curve],
        "seconds": round(time.perf_counter() - begin, 1),
        "device": named(device),
        "path": result.path,
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def done() -> list[Plan]:
    """Return the trials that stand in the file."""
    lines = FILE.read_text(encoding="utf-8").splitlines() if FILE.exists() else []
    return [json.loads(line) for line in lines]


def named(device: str) -> str:
    """Return what a device calls itself."""
    if device == "cpu":
        return device
    return str(torch.get_device_module(device).get_device_name(device))


def main(device: str, minutes: float, jobs: int) -> None:
    """Run the remaining trials in `jobs` processes; start none after `minutes`."""
    end = time.monotonic() + 60 * minutes
    left = [p for p in planned() if not any(p.items() <= trial.items() for trial in done())]
    running: set[Future[Plan]] = set()
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        while running or (left and time.monotonic() < end):
            while left and len(running) < jobs and time.monotonic() < end:
                running.add(pool.submit(train, left.pop(0), device))
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for each in ended:
                keep(each.result())


def keep(found: Plan) -> None:
    """Append a trial to the file, and say what came of it."""
    with FILE.open("a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")
    names = ("part", "start", "stored", "approach", "k", "seed", "status", "escape", "score")
    print({name: found[name] for name in (*names, "path", "seconds")}, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    main(given.device, given.minutes, given.jobs)
