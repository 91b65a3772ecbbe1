"""Nothing that an optimizer leaves behind in its process reaches the next case."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gradbench.engines.worker import ControllerState, WorkerContext, run_in_worker
from gradbench.isolation.leftovers import Before
from gradbench.isolation.settings import every
from gradbench.optimizers.factory import resolve
from gradbench.protocol import discovery
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.results.record import Expectation, read
from gradbench.session.plan import resolve_names
from gradbench.spec import parse

LEAVES = """
import builtins, gc, os, random, signal, subprocess, sys, threading, time, warnings
import numpy as np
import torch
from torch.nn.modules import module
from torch.optim.optimizer import register_optimizer_step_post_hook

def leaving(act):
    class Leaves(torch.optim.SGD):
        done = False
        def __init__(self, params, lr=0.1):
            super().__init__(params, lr=lr)
        def step(self, closure=None):
            loss = super().step()
            act()
            return loss
    return Leaves

def patch(where, name):
    old = getattr(where, name)
    def other(*args, **kwargs):
        found = old(*args, **kwargs)
        return found * 0.5 if isinstance(found, (torch.Tensor, float)) else found
    setattr(where, name, other)

Autocast = leaving(lambda: torch.set_autocast_enabled("cpu", True))
Gradients = leaving(lambda: torch.set_grad_enabled(False))
Anomaly = leaving(lambda: torch.autograd.set_detect_anomaly(True))
Device = leaving(lambda: torch.set_default_device("meta"))
Type = leaving(lambda: torch.set_default_dtype(torch.float64))
Precision = leaving(lambda: torch.set_float32_matmul_precision("medium"))
Threads = leaving(lambda: torch.set_num_threads(2))
Flush = leaving(lambda: torch.set_flush_denormal(True))
Modules = leaving(lambda: module.register_module_forward_hook(lambda m, i, o: o * 2))
Backward = leaving(lambda: module.register_module_full_backward_hook(lambda m, i, o: None))
Steps = leaving(lambda: register_optimizer_step_post_hook(
    lambda o, a, k: [p.data.mul_(0.5) for g in o.param_groups for p in g["params"]]))
PatchedZero = leaving(lambda: patch(torch.optim.Optimizer, "zero_grad"))
PatchedTensor = leaving(lambda: patch(torch.Tensor, "mean"))
PatchedBackward = leaving(lambda: setattr(torch.Tensor, "backward", lambda self: None))
PatchedLinear = leaving(lambda: patch(torch.nn.functional, "linear"))
Clock = leaving(lambda: setattr(time, "perf_counter", lambda: 0.0))
Folder = leaving(lambda: os.chdir("/"))
Environment = leaving(lambda: os.environ.update(OMP_NUM_THREADS="7", LEFT="1"))
Errors = leaving(lambda: np.seterr(all="raise"))
Function = leaving(lambda: setattr(sys.modules["torch.optim.adam"], "adam", print))
Handlers = leaving(lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
Child = leaving(lambda: subprocess.Popen(["sleep", "99"]))
Stream = leaving(lambda: setattr(sys, "stdout", open(os.devnull, "w")))

def score():
    from gradbench.scenarios.parity import Parity
    Parity.score = lambda self, outputs, labels: torch.ones(len(labels))
Score = leaving(score)

def looks():
    from gradbench.training import state
    state.CONFIRMATIONS = 1
Constant = leaving(looks)

started = []
def thread():
    if not started:
        def draw():
            while True:
                random.random(), time.sleep(1e-3)
        started.append(threading.Thread(target=draw, daemon=True))
        started[0].start()
Thread = leaving(thread)

entered = []
def inference():
    if not entered:
        entered.append(torch.inference_mode())
        entered[0].__enter__()
Inference = leaving(inference)
"""

BACK = {
    "Autocast": "autocast",
    "Anomaly": "anomaly detection",
    "Device": "default device",
    "Precision": "matmul precision",
    "Threads": "threads",
    "Flush": "denormal numbers",
    "Modules": "hooks: _global_forward_hooks",
    "Backward": "hooks: _global_backward_hooks",
    "Steps": "hooks: _global_optimizer_post_hooks",
    "PatchedZero": "Optimizer.zero_grad",
    "PatchedTensor": "Tensor.mean",
    "PatchedBackward": "Tensor.backward",
    "PatchedLinear": "torch.nn.functional.linear",
    "Clock": "time.perf_counter",
    "Folder": "working folder",
    "Environment": "environment",
    "Errors": "numpy's errors",
    "Function": "torch.optim.adam.adam",
    "Handlers": "signal handlers",
    "Child": "a process: sleep",
    "Stream": "output streams",
    "Score": "Parity.score",
    "Constant": "gradbench.training.state.CONFIRMATIONS",
}
WITHIN = {"Type", "Gradients"}
"""What a trial's own surroundings put back already."""
STUCK = {"Thread": "a thread: ", "Inference": "inference mode"}

LEFT = "left behind, and put back: "


@pytest.fixture
def run(pytester, own_suite, stored):
    (pytester.path / "leaves.py").write_text(LEAVES)

    def run(*names, options=()):
        specs = [f"--optimizer=./leaves.py:{name}" for name in names]
        common = ("--gb-seeds=2", "--gb-tune=2", "--gb-probes=none", "-p", "no:cacheprovider")
        result = pytester.runpytest_subprocess(
            "test_own.py", *common, *specs, "--optimizer=adam:lr=0.01", *options
        )
        return result, stored(pytester.path / "reports")

    return run


def of(records, untimed, optimizer="adam:lr=0.01"):
    return untimed([record for record in records if record["optimizer"] == optimizer])


def test_the_folder_of_an_optimizers_file_is_not_what_it_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "fine.py").write_text("import torch\nclass Fine(torch.optim.SGD): pass\n")
    before = Before()
    resolve(f"{tmp_path}/fine.py:Fine")
    assert str(tmp_path) in sys.path
    assert before.left() == ([], [])
    assert str(tmp_path) in sys.path
    sys.path.append("of its own")
    assert before.left() == (["import path"], [])
    assert "of its own" not in sys.path


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Resolve the optimizers of a file that are named, as a session does before its items."""
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "built.py").write_text(BUILT)

    def resolved(*names):
        specs = [parse(f"./built.py:{name}") for name in names]
        resolve_names(SimpleNamespace(optimizers=specs, time_against=None, architectures=[]))

    return resolved


BUILT = """
import os, signal, threading, torch

ends = threading.Event()

def building(act):
    class Built(torch.optim.SGD):
        def __init__(self, params, lr=0.1):
            super().__init__(params, lr=lr)
            act()
    return Built

Plain = building(lambda: None)
Folder = building(lambda: os.chdir("/"))
Deterministic = building(lambda: torch.use_deterministic_algorithms(True))
Handlers = building(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
Timer = building(lambda: threading.Timer(0.3, print).start())
Thread = building(lambda: threading.Thread(target=ends.wait, name="mine").start())
"""


def test_what_constructors_change_before_the_first_item_is_put_back(session):
    before = every()
    session("Folder", "Deterministic", "Handlers", "Plain")  # the last is a file of this folder
    assert every() | {"import path": 0} == before | {"import path": 0}
    session("Timer")  # it ends by itself


def test_an_import_changes_neither_scores_nor_settings_and_what_stays_is_named(
    tmp_path, monkeypatch
):
    """In all items of a process alike: it is imported in the first one only."""
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr(torch.optim.SGD, "old_name", None, raising=False)
    (tmp_path / "at_import.py").write_text(
        "import torch\n"
        "from gradbench.scenarios.parity import Parity\n"
        "Parity.evaluate = lambda *_: (1.0, 0.0)\n"
        "torch.set_float32_matmul_precision('medium')\n"
        "old = torch.optim.Adadelta.step\n"
        "torch.optim.Adadelta.step = lambda self, closure=None: old(self, closure)\n"
        "class Mine(torch.optim.SGD): pass\n"
    )
    monkeypatch.setattr(torch.optim.Adadelta, "step", torch.optim.Adadelta.step)  # restored
    case = Case(
        id="a",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 30, "weight": 15},
        budget=5,
        expectation=Expectation.MAY,
    )
    item = Item(case=case, optimizer=f"{tmp_path}/at_import.py:Mine:lr=0.1", seeds=1, tuning=0)
    context, around = WorkerContext(), ControllerState.of_this_process(shared=False)
    notes = []
    for _ in range(2):
        record, *_ = run_in_worker(item, around, context)
        assert record.statuses == ["unsolved"]
        notes.append([note for note in record.notes if "by its import" in note])
    assert torch.get_float32_matmul_precision() == "highest"
    stays = "replaced by its import: Adadelta.step"
    assert notes[0] == [
        "changed by its import, and put back: matmul precision, Parity.evaluate",
        stays,
    ]
    assert notes[1] == [stays]


def test_a_constructor_whose_thread_would_keep_pytest_from_ending_is_refused_in_one_line(session):
    with pytest.raises(ValueError, match=r"a thread that runs on \(mine\)"):
        session("Thread")
    sys.modules[f"built@{Path.cwd()}"].ends.set()


def test_a_child_that_a_constructor_forks_ends_there(pytester):
    pytester.makepyfile(
        forks="""
        import os, torch
        from gradbench.isolation.others_code import contained
        with contained():
            child = os.fork()
        if child:
            print("code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        else:
            print("it came back")
        """
    )
    assert pytester.runpython("forks.py").stdout.lines == ["code 1"]


@pytest.mark.proof  # what `check` sees, below, it sees by the same comparison
def test_what_is_left_behind_is_put_back_and_said(run, untimed):
    plain = of(run(options=("--gb-engine=inline",))[1], untimed)
    _, found = run(*BACK, *WITHIN, options=("--gb-engine=inline",))
    notes = {record["optimizer"].partition(":")[2]: record["notes"] for record in found}
    for name, what in BACK.items():
        said = [note for note in notes[name] if note.startswith(LEFT)]
        assert said, name
        assert what in said[0].removeprefix(LEFT).split(", ")
    assert of(found, untimed) == plain
    assert not any(LEFT in note for note in plain[0]["notes"])


@pytest.mark.proof
@pytest.mark.parametrize("name", STUCK)
def test_what_cannot_be_put_back_ends_an_inline_run_in_one_line(run, name):
    result, found = run(name, options=("--gb-engine=inline",))
    assert [record["case"] for record in found] == ["own-d4"]
    assert result.ret == 2
    result.stdout.fnmatch_lines([f"*own-d4*left behind in this process:*{STUCK[name]}*"])


@pytest.mark.proof
def test_in_processes_it_reaches_nobody(run, untimed):
    plain = of(run(options=("--gb-engine=processes:1",))[1], untimed)
    _, found = run(*STUCK, "Score", options=("--gb-engine=processes:1",))
    assert of(found, untimed) == plain
    assert len(found) == 9
    json.dumps(found)
    for record in found:
        name = record["optimizer"].partition(":")[2]
        if name in STUCK:
            assert any(STUCK[name] in note for note in record["notes"])


CHECKS = """
import sys, torch
from gradbench.checks import optimizer as check
torch.set_num_threads(1)
for name in sys.argv[1:]:
    try:
        print(name, "said", check.leaves_nothing_behind(f"./leaves.py:{name}"), file=sys.__stderr__)
    except check.CheckError as error:
        print(name, error, file=sys.__stderr__)
"""


@pytest.mark.proof
def test_the_check_sees_it(pytester):
    (pytester.path / "leaves.py").write_text(LEAVES)
    (pytester.path / "checks.py").write_text(CHECKS)
    names = [*BACK, *STUCK]  # what is stuck comes last
    result = pytester.run(sys.executable, "checks.py", *names)
    said = dict(line.split(" ", 1) for line in result.errlines if " " in line)
    for name, what in (BACK | STUCK).items():
        assert said[name].startswith("left behind: "), (name, said[name])
        assert what in said[name]


COMPILES = """
import shutil, torch

BACKEND = "inductor" if shutil.which("g++") else "eager"
doubled = torch.compile(lambda x: x * 2 + 1, backend=BACKEND)

class Compiles(torch.optim.SGD):
    def step(self, closure=None):
        doubled(torch.ones(3))
        return super().step()
"""


@pytest.mark.proof
def test_what_torch_does_itself_is_left_and_not_said(pytester, run):
    (pytester.path / "compiles.py").write_text(COMPILES)
    options = ("--optimizer=./compiles.py:Compiles", "--gb-engine=processes:1")
    found = run("Autocast", options=options)[1]
    noted = {record["optimizer"] for record in found if "left behind" in str(record["notes"])}
    assert noted == {"./leaves.py:Autocast"}
    suites = str(discovery.suites())
    common = ("--gb-seeds=1", "--gb-tune=0", "--gb-probes=none", "--gb-gate=record")
    pytester.runpytest_subprocess(
        suites,
        "--rootdir=.",
        "-c",
        "/dev/null",
        *common,
        "-p",
        "no:cacheprovider",
        "--optimizer=adam",
    )
    records = read(pytester.path / "reports" / "latest" / "records.jsonl")
    assert len(records) > 40
    assert not [r.notes for r in records if "left behind" in " ".join(r.notes)]
