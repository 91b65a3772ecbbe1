"""The loops of gradbench, LightBench and optfuncs on one task, each against a bare loop.

    python benchmarks/peers.py [FOLDER]

Makes an environment in FOLDER (a temporary one where none is named), installs this checkout, both
peers and what they import, and measures there, on one thread: a parity of ten bits by a network of
100 units, torch's Adam, fresh batches of 128. The loops take turns; each row is the median of the
paired ratios. LightBench asks for "cuda" wherever it runs: here it gets the CPU. It watches the
loss of every step for early stopping, which is kept from ending the run. Of optfuncs, whose cones
are compiled for Python 3.12 or later, the Python part is taken; it knows functions of a vector, so
its bare loop is one over such a function. gradbench is measured as it trains one trial, without
looks and with all of them, at the 1,024 inputs that there are.
"""

import copy
import math
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tabulate import tabulate
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradbench import Trial
from gradbench.results.record import Status, TrialResult
from gradbench.scenarios.base import Batch
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.training.loop import Training
from gradbench.training.runner import run

HERE = Path(__file__).resolve()
NEEDED = ("lightbench", "botorch", "pandas", "matplotlib")  # it imports more than it asks for
RATE, STEPS, PAIRS = 1e-3, 2048, 9


def install(folder: Path) -> str:
    """Make the environment and return its Python."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pinned = [f"--constraint={HERE.parents[1] / 'constraints.txt'}", str(HERE.parents[1])]
    subprocess.run([*pip, "install", *pinned, *NEEDED], check=True)  # noqa: S603
    source = ["download", "--no-deps", "--ignore-requires-python", "--no-binary=optfuncs"]
    subprocess.run([*pip, *source, "optfuncs", f"--dest={folder}"], check=True)  # noqa: S603
    with tarfile.open(next(folder.glob("optfuncs-*.tar.gz"))) as sources:
        sources.extractall(folder / "optfuncs", filter="data")
    return python


def measure(folder: Path) -> None:
    """Print how many times as long as a bare loop each takes."""
    torch.set_num_threads(1)
    ours, bare = by_gradbench(), Bare()
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "gradbench, without looks": (lambda: ours(looking=False), bare.network),
        "gradbench": (lambda: ours(looking=True), bare.network),
        "LightBench": (by_lightbench(bare), bare.network),
        "optfuncs": (by_optfuncs(bare, folder), bare.vector),
    }
    torch.set_num_threads(1)  # they may have set it
    rows = []
    for name, (harness, loop) in pairs.items():
        found = [(seconds(harness), seconds(loop)) for _ in range(PAIRS + 1)][1:]
        q1, middle, q3 = statistics.quantiles((a / b for a, b in found), n=4)
        step = statistics.median(b for _, b in found) / STEPS * 1e6
        rows.append([name, f"{step:.0f}", f"{middle:.2f}", f"{q1:.2f} to {q3:.2f}"])
    print(tabulate(rows, ["", "bare loop, us/step", "times as long", "quartiles"], "github"))


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


class Bare:
    """The task, and the loops that a user would write for it."""

    def __init__(self) -> None:
        self.scenario, self.draw = Parity(d=10, weight=5), Draws(0)
        self.target = self.scenario.draw_target(self.draw)
        self.start = self.scenario.network(Draws(1))
        self.flat = torch.nn.utils.parameters_to_vector(self.start.parameters()).detach()

    def batch(self) -> Batch:
        """Draw a batch."""
        return self.scenario.sample(self.target, 128, self.draw)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the batch's loss."""
        return self.scenario.loss(outputs, labels).mean()

    def at(self, x: Tensor) -> Tensor:
        """Return the loss on a new batch of the network whose parameters are the vector x."""
        inputs, labels = self.batch()
        hidden, bias, out = x[:1000].view(100, 10), x[1000:1100], x[1100:1200].view(1, 100)
        features = (inputs @ hidden.T + bias).relu()
        return self.loss(features @ out.T + x[1200:], labels)

    def network(self) -> None:
        """Train the network."""
        network = copy.deepcopy(self.start)
        optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
        for _ in range(STEPS):
            inputs, labels = self.batch()
            optimizer.zero_grad()
            self.loss(network(inputs), labels).backward()
            optimizer.step()

    def vector(self) -> None:
        """Train the vector."""
        x = self.flat.clone().requires_grad_()
        optimizer = torch.optim.Adam([x], lr=RATE)
        for _ in range(STEPS):
            optimizer.zero_grad()
            self.at(x).backward()
            optimizer.step()


def by_gradbench() -> Callable[..., None]:
    """Return what trains a trial."""
    given = {"optimizer": f"adam:lr={RATE}", "budget": STEPS, "target_score": math.inf}

    def train(*, looking: bool) -> None:
        trial = Trial(scenario=Parity(d=10, weight=5), **given)
        if looking:
            run([trial], stack="off")
        else:
            Training(trial, TrialResult(trial.seed, Status.UNSOLVED)).advance(STEPS)

    return train


class OnCPU(TorchFunctionMode):
    """Give the CPU to who asks for "cuda"."""

    def __torch_function__(
        self,
        function: Callable[..., object],
        _: object,
        args: Sequence[object] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Call a function of torch's."""
        given = dict(kwargs or {})
        if given.get("device") == "cuda":
            given["device"] = "cpu"
        return function(*args, **given)


def by_lightbench(task: Bare) -> Callable[[], None]:
    """Return LightBench's attempt at one point of its search."""
    from lightbench.utils import Objective

    never = lambda *_: (False, {})  # noqa: E731
    given = (torch.optim.Adam, STEPS, 256, task.batch, task.loss, never, 0.0, 1, None)
    with OnCPU():
        objective = Objective(3, task.start, *given, device="cpu")
    objective.disable_early_stopping = True
    make = objective.validator.new

    def train() -> None:
        with OnCPU():
            validator = make()
        objective.validator.new = lambda: validator
        objective._inner((RATE, 0.1, 0.001, 0.1))  # noqa: SLF001  # beta1 0.9, beta2 0.999

    return train


def by_optfuncs(task: Bare, folder: Path) -> Callable[[], None]:
    """Return optfuncs' evaluation of its Adam."""
    sys.path.insert(0, str(next((folder / "optfuncs").glob("*/src"))))
    from optfunc.functional import CallableOptFunction
    from optfunc.testing import OptimizerBudget, OptimizerCase, evaluate_optimizer, make_torch_adam

    size = len(task.flat)
    function = CallableOptFunction(
        task.at,
        dim=size,
        bounds=(-math.inf, math.inf),
        global_minimum=0.0,
        global_minimizer=task.flat,
        dtype=torch.float32,
    )
    budget = OptimizerBudget(max_steps=STEPS, lr=RATE)
    case = OptimizerCase(function, x0=task.flat, budget=budget, hessian_max_dim=0)
    adam = make_torch_adam()

    def train() -> None:
        report = evaluate_optimizer(adam, case)
        if report.status == "error":
            raise RuntimeError(report.error)

    return train


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]))
    else:
        folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp()).resolve()
        whole = (folder / "optfuncs").is_dir()  # the last that is installed
        python = str(folder / "bin" / "python") if whole else install(folder)
        subprocess.run([python, str(HERE), "--measure", str(folder)], check=True)  # noqa: S603
