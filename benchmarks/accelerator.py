"""What only an accelerator can show, within a few minutes: one table, and the same as JSON.

    python benchmarks/accelerator.py [--minutes=5] [--device=auto] [--only=NAME,...] [--out=FOLDER]

Runs the checks in the order of their importance, each in a process of its own, goes on past one
that fails, and ends within the minutes given. On a CPU what needs an accelerator is not applicable,
and the rest runs in small. Needs no network and no installation: the checkout is enough.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from gradbench import Trial  # noqa: E402
from gradbench.engines.base import device_name  # noqa: E402
from gradbench.results.record import Status, TrialResult  # noqa: E402
from gradbench.scenarios.base import Scenario  # noqa: E402
from gradbench.scenarios.curves import Curves  # noqa: E402
from gradbench.scenarios.line_tuples import LineTuples  # noqa: E402
from gradbench.scenarios.parity import Parity  # noqa: E402
from gradbench.scenarios.saturation import Saturation  # noqa: E402
from gradbench.scenarios.steps import Steps  # noqa: E402
from gradbench.training.clock import clock_for  # noqa: E402
from gradbench.training.loop import Training  # noqa: E402
from gradbench.training.random_streams import isolated  # noqa: E402
from gradbench.training.runner import run, time_trial  # noqa: E402

Found = tuple[str, bool | None, str]
"""What was looked at, whether it holds (None: a figure that promises nothing), and the figure."""

NETWORKS: dict[str, Scenario] = {
    "parity d = 10": Parity(d=10, weight=5),
    "parity d = 30": Parity(d=30, weight=15),
    "filter": Curves(approach="convolution", n=12),
    "MLP": Steps(approach="end-to-end"),
    "multi-class": Steps(approach="multi-class"),
    "sigmoids": Saturation(depth=4),
    "convolution": LineTuples(k=1, n1="convolution"),
}
RATES = tuple(10.0**-k for k in range(1, 8))
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""Relative, after 50 steps. Where float32 itself takes a plain trial further from one in float64
(Adam's step near a gradient of zero is its sign), that distance takes its place."""


def main() -> int:
    """Run the checks that the time allows; return 1 where one fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", default="")
    parser.add_argument("--out", default=".")
    parser.add_argument("--check", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    device = device_name(given.device)
    if given.check:
        for found in CHECKS[given.check](device):
            print(json.dumps(found), flush=True)
        return 0
    end = time.monotonic() + 60 * given.minutes
    names = [name for name in given.only.split(",") if name] or list(CHECKS)
    if unknown := sorted(set(names) - set(CHECKS)):
        parser.error(f"no such check: {', '.join(unknown)}; choose from {', '.join(CHECKS)}")
    rows: list[dict[str, Any]] = []
    for name in names:
        left = end - time.monotonic()
        rows += _check(name, device, left) if left > 1 else [_row(name, "", "not run", "no time")]
        print(*(f"{r['check']}: {r['what']}: {r['result']}: {r['figure']}" for r in rows[-1:]))
    return _report(rows, device, Path(given.out))


def _check(name: str, device: str, seconds: float) -> list[dict[str, Any]]:
    """Run one check in a process of its own."""
    command = [sys.executable, str(Path(__file__)), f"--device={device}", f"--check={name}"]
    began = time.monotonic()
    began, trouble = time.monotonic(), ""
    try:
        ran = subprocess.run(  # noqa: S603  # this file
            command, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT
        )
        output = ran.stdout
        if ran.returncode:
            trouble = (ran.stderr.strip().splitlines() or ["no output"])[-1][:300]
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        trouble = f"did not end in the {seconds:.0f} s that were left"
    said = {True: "holds", False: "fails", None: "measured"}
    found = [json.loads(line) for line in output.splitlines() if line.endswith("]")]
    rows = [_row(name, what, said[holds], figure) for what, holds, figure in found]
    if trouble:
        rows.append(_row(name, "", "not run" if "did not end" in trouble else "failed", trouble))
    took = round(time.monotonic() - began, 1)
    return [row | {"seconds": took} for row in rows]


def _row(check: str, what: str, result: str, figure: str) -> dict[str, Any]:
    return {"check": check, "what": what, "result": result, "figure": figure}


def _report(rows: list[dict[str, Any]], device: str, folder: Path) -> int:
    """Print the table, and write it beside its JSON."""
    from tabulate import tabulate

    about = {
        "device": _called(device),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    keys = ("check", "what", "result", "figure")
    table = tabulate([[row[key] for key in keys] for row in rows], keys, tablefmt="github")
    text = ", ".join(f"{name} {value}" for name, value in about.items()) + f"\n\n{table}\n"
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "accelerator.md").write_text(text, encoding="utf-8")
    data = json.dumps({"about": about, "rows": rows}, indent=1)
    (folder / "accelerator.json").write_text(data, encoding="utf-8")
    return int(any(row["result"] in {"fails", "failed"} for row in rows))


def _called(device: str) -> str:
    if device == "cpu":
        return "cpu"
    return str(torch.get_device_module(device).get_device_name(device))


def clock(device: str) -> Iterator[Found]:
    """Time plain steps, and compare the device's events with a profiler: within 5 %."""
    trial = _trial(NETWORKS["parity d = 30"], "adam", device, budget=200)
    result = time_trial(trial)
    wanted = "perf_counter" if device == "cpu" else f"{torch.device(device).type}-event"
    yield "clock", result.clock == wanted, result.clock
    for name in ("parity d = 30", "MLP", "convolution"):
        for spec in ("sgd", "adam"):
            one = time_trial(_trial(NETWORKS[name], spec, device, budget=129))
            each = statistics.median(s / n for s, n in one.blocks[1:])
            bound = one.timed.get("launch_bound")
            figure = f"{each * 1e3:.3f} ms, launch-bound: {bound}"
            yield f"{name}, {spec}, plain step", None, figure
    if device != "cpu":
        ratio = _profiled(trial)
        yield "events over profiler", 0.95 < ratio < 1.05, f"{ratio:.3f}"


def _profiled(trial: Trial) -> float:
    from torch.autograd import DeviceType
    from torch.profiler import profile

    with isolated(trial):
        training = Training(trial, TrialResult(0, Status.UNSOLVED))
        training.advance(64)  # warm, and at the edge of a chunk of data
        training.clock = clock_for(training.device)
        torch.accelerator.synchronize()
        with profile() as seen:
            training.advance(124)
            torch.accelerator.synchronize()
    seconds = sum(seconds for seconds, _ in training.clock.blocks())
    kernels = [each for each in seen.events() if each.device_type is not DeviceType.CPU]
    start = min(each.time_range.start for each in kernels)
    end = max(each.time_range.end for each in kernels)
    return seconds / ((end - start) / 1e6)


def recorded_is_plain(device: str) -> Iterator[Found]:
    """Compare recorded steps of one trial with plain ones, by the parameters after 50 steps."""
    if device == "cpu":
        yield "recorded steps", None, "not applicable on a CPU"
        return
    for name, scenario in NETWORKS.items():
        for spec in ("sgd:momentum=0.9", "adam", "adagrad", "adam+cosine", f"{__file__}:Momentum"):
            trial = _trial(scenario, spec, device, budget=50, batch=50)
            plain, recorded = _weights(trial), _weights(trial, recorded=True)
            exact = _weights(replace(trial, dtype="float64"))
            gap, own = _distance(recorded, plain), _distance(plain, exact)
            figure = "equal bits" if torch.equal(plain, recorded) else f"{gap:.1e} relative"
            what = f"{name}, {spec.rpartition('/')[2]}"
            yield (
                what,
                gap <= max(TOLERANCE["float32"], own),
                f"{figure}; float64 is {own:.1e} away",
            )


def stacked_is_plain(device: str) -> Iterator[Found]:
    """Compare each row of a stack with a trial that trains apart, for 50 steps.

    Adagrad's first step is the sign of a gradient; in float32 rounding decides it near zero.
    """
    for dtype in ("float64", "float32"):
        for name, scenario in NETWORKS.items():
            if (name, device) == ("convolution", "cpu"):  # a minute a row, and tested elsewhere
                continue
            for spec in ("sgd:momentum=0.9,lr=0.01", "adam:lr=0.001", "adagrad"):
                if (spec, dtype) == ("adagrad", "float32"):
                    continue
                trials = [
                    _trial(scenario, spec, device, budget=50, batch=50, dtype=dtype, seed=seed)
                    for seed in range(3)
                ]
                stacked = run(trials, stack="on")
                apart = [run([trial], stack="off")[0] for trial in trials]
                gap, bound = max(map(_gap, stacked, apart)), TOLERANCE[dtype]
                path = stacked[0].path + (f" ({f})" if (f := stacked[0].fallback) else "")
                figure = f"{gap:.1e}, {path}"
                if gap > bound and dtype == "float32":
                    exact = [run([replace(t, dtype="float64")], stack="off")[0] for t in trials]
                    bound = max(map(_gap, apart, exact))
                    figure += f"; float64 is {bound:.1e} away"
                yield f"{name}, {spec}, {dtype}", gap <= bound, figure


def _gap(one: TrialResult, other: TrialResult) -> float:
    """Return the largest relative difference of two trials' held-out losses."""
    pairs = zip(one.curve, other.curve, strict=True)
    return max(abs(a - b) / max(abs(a), abs(b), 1e-30) for (_, _, a), (_, _, b) in pairs)


def same_bits(device: str) -> Iterator[Found]:
    """Train the same trials twice, the second time after others, and in another order."""
    for name in ("parity d = 10", "MLP", "convolution"):
        for spec in ("adam", "adagrad"):
            trials = [
                _trial(NETWORKS[name], spec, device, budget=60, seed=seed, lr=rate)
                for rate in (1e-2, 1e-3)
                for seed in range(2)
            ]
            first = [repr(result.curve) for result in run(trials)]
            run([_trial(NETWORKS["parity d = 30"], "sgd", device, budget=20)])
            again = [repr(result.curve) for result in run(trials)]
            order = [repr(result.curve) for result in run(trials[::-1])][::-1]
            both = f"twice {first == again}, in another order {first == order}"
            yield f"{name}, {spec}", first == again == order, both


def many(device: str) -> Iterator[Found]:
    """Compare 70 trials with 70 sequential runs, of which four are run; looks included."""
    small = device == "cpu"
    promised = {"parity d = 10": 100, "parity d = 30": 100, "filter": 40, "MLP": 40}
    budget, every = (20, 70) if small else (1000, 20)
    for name, least in promised.items():
        for spec in ("sgd", "adam"):
            trials = [
                _trial(NETWORKS[name], spec, device, budget=budget, seed=seed, lr=rate)
                for rate in RATES
                for seed in range(10)
            ]
            run(trials[:2])  # what is loaded once
            sequential, _ = _timed(trials[::every], stack="off")
            trials = trials[:6] if small else trials
            sequential *= len(trials) / len(trials[::every])
            together, results = _timed(trials)
            ratio = sequential / together
            path = results[0].path + (f" ({f})" if (f := results[0].fallback) else "")
            figure = f"{ratio:.1f} times, {sequential:.1f} s against {together:.2f} s, {path}"
            yield f"{name}, {spec}", None if small else ratio >= least, figure


def thousand(device: str) -> Iterator[Found]:
    """Compare 1,000 trials with 70, seven rates on ten seeds: at most four times as long.

    More rates have the same data; more seeds have data and networks of their own to be drawn.
    """
    small = device == "cpu"
    shapes = {"100 rates on 10 seeds": (100, 10), "7 rates on 143 seeds": (7, 143)}
    for name in ("parity d = 10", "parity d = 30"):
        few, _ = _timed(_grid(name, device, *((2, 2) if small else (7, 10)), small=small))
        for shape, sizes in shapes.items():
            rates, seeds = (3, 3) if small else sizes
            much, _ = _timed(_grid(name, device, rates, seeds, small=small))
            ratio = much / few
            figure = f"{ratio:.2f} times, {much:.1f} s against {few:.2f} s"
            yield f"{name}, {shape}, against 7 on 10", None if small else ratio <= 4, figure


def _grid(name: str, device: str, rates: int, seeds: int, *, small: bool) -> list[Trial]:
    """Return an Adam trial for each rate, from 0.1 down to 1e-7, and seed, after running two."""
    trials = [
        _trial(
            NETWORKS[name],
            "adam",
            device,
            budget=20 if small else 500,
            seed=seed,
            lr=10 ** -(1 + 6 * rate / rates),
        )
        for rate in range(rates)
        for seed in range(seeds)
    ]
    run(trials[:2])
    return trials


def figure_3(device: str) -> Iterator[Found]:
    """Time a step of the paper's own N1 on pairs, batches of 200: plain and recorded."""
    scenario = LineTuples(k=2, n1="convolution", start="script")
    trial = _trial(scenario, scenario.published, device, budget=8 if device == "cpu" else 500)
    trial = replace(trial, batch=200)
    run([replace(trial, budget=8)])
    plain, _ = _timed([trial], stack="off")
    recorded, (result,) = _timed([trial])
    each = 1000 / trial.budget
    figure = f"{plain * each:.2f} ms plain, {recorded * each:.2f} ms {result.path}"
    yield "an evaluation, looks and data included", None, f"{figure} {result.fallback}"


def quick(device: str) -> Iterator[Found]:
    """Run the quick preset by Adam on this machine's cores and on the device."""
    ways = {"cores": ("--gb-device=cpu",)}
    if device != "cpu":
        cores = max(2, (os.cpu_count() or 2) // 2)
        ways |= {
            f"device, processes:{cores}": (
                f"--gb-device={device}",
                f"--gb-engine=processes:{cores}",
            ),
            "device": (f"--gb-device={device}",),
        }
    outcomes: dict[str, dict[str, str]] = {}
    for way, options in ways.items():
        seconds, outcomes[way], tail = _quick(options, few=device == "cpu")
        yield way, None, f"{seconds:.1f} s: {tail}"
        other = [c for c, o in outcomes["cores"].items() if outcomes[way].get(c) != o]
        if way != "cores":
            yield f"{way}: verdicts of the cores", not other, ", ".join(other) or "equal"


def _quick(options: Sequence[str], *, few: bool) -> tuple[float, dict[str, str], str]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "suites", "--optimizer=adam", "-q"]
        command += [*options, f"--gb-report-dir={folder}", *(["-k", "d5"] if few else [])]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        began = time.perf_counter()
        ran = subprocess.run(  # noqa: S603  # our own suites
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path},
        )
        seconds = time.perf_counter() - began
        records = Path(folder) / "latest" / "records.jsonl"
        if not records.exists():
            raise RuntimeError((ran.stdout + ran.stderr).strip().splitlines()[-1])
        lines = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    paths = statistics.multimode(line["path"] for line in lines)[0]
    solved = {line["case"]: f"{line['outcome']} {line['solved']}/{line['seeds']}" for line in lines}
    slow = sorted(lines, key=lambda line: -line["timing"].get("case_seconds", 0))[:3]
    longest = ", ".join(f"{line['case']} {line['timing']['case_seconds']:.1f} s" for line in slow)
    return seconds, solved, f"{len(lines)} cases, mostly {paths}; longest {longest}"


def _trial(  # noqa: PLR0913  # what differs between the checks
    scenario: Scenario,
    spec: str,
    device: str,
    *,
    budget: int,
    batch: int = 128,
    dtype: str = "float32",
    seed: int = 0,
    lr: float | None = None,
) -> Trial:
    return Trial(
        scenario=scenario,
        optimizer=spec,
        seed=seed,
        budget=budget,
        batch=batch,
        target_score=math.inf,
        hyperparameters={} if lr is None else {"lr": lr},
        device=device,
        dtype=dtype,
    )


def _timed(trials: Sequence[Trial], stack: str = "auto") -> tuple[float, list[TrialResult]]:
    began = time.perf_counter()
    results = run(trials, stack=stack)
    return time.perf_counter() - began, results


def _weights(trial: Trial, *, recorded: bool = False) -> Tensor:
    """Return the parameters after the trial's steps, in float64."""
    with isolated(trial):
        result = TrialResult(trial.seed, Status.UNSOLVED)
        training = Training(trial, result, recorded=recorded)
        training.advance(trial.budget)
        return torch.cat([p.detach().flatten().double().cpu() for p in training.parameters])


def _distance(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


class Momentum(torch.optim.Optimizer):
    """A stranger's: it keeps the last gradient as the tensor that it was."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:  # noqa: ANN401
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ANN401, ARG002
        """Step along the gradient and half of the one before."""
        for group in self.param_groups:
            for p in group["params"]:
                before = self.state[p].get("before", torch.zeros_like(p))
                p.sub_(group["lr"] * (p.grad + 0.5 * before))
                self.state[p]["before"] = p.grad


CHECKS: dict[str, Callable[[str], Iterator[Found]]] = {
    "recorded": recorded_is_plain,
    "bits": same_bits,
    "stacked": stacked_is_plain,
    "many": many,
    "figure-3": figure_3,
    "thousand": thousand,
    "quick": quick,
    "clock": clock,
}

if __name__ == "__main__":
    sys.exit(main())
