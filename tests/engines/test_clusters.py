"""Engines elsewhere: a real Dask scheduler with two workers over TCP, and submitit's jobs."""

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gradbench.engines.base import choose
from gradbench.engines.slurm import Slurm, _arguments

ONCE = """
import os, signal
import torch

class KillsOneWorker(torch.optim.SGD):
    def step(self, closure=None):
        if self.param_groups[0]["params"][0].numel() > 9:  # no toy
            try:
                os.mkdir({marker!r})
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        super().step(closure)
"""


@contextmanager
def started(module, *words, until):
    """Run a command of distributed's as a process of its own; yield the line that it waited for."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{module}", *words],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"},
    )
    try:
        yield next(line for line in process.stderr if until in line)
    finally:
        process.kill()
        process.communicate()


def run(folder, engine, optimizer):
    command = [sys.executable, "-m", "pytest", "test_own.py", f"--optimizer={optimizer}"]
    command += ["--gb-seeds=2", "--gb-report-dir=out", f"--gb-engine={engine}"]
    done = subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def inline(pytester, optimizer):
    words = ("test_own.py", f"--optimizer={optimizer}", "--gb-seeds=2", "--gb-report-dir=out")
    assert pytester.runpytest_inprocess(*words, "--gb-engine=inline").ret == 0


@pytest.mark.proof
def test_dask_gives_the_same_records_though_a_worker_is_killed(
    pytester, own_suite, stored, untimed
):
    marker = Path(pytester.path, "was-killed")
    pytester.makepyfile(opt=ONCE.format(marker=str(marker)))
    with ExitStack() as stack:
        line = stack.enter_context(
            started(
                *("dask_scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard"),
                until="Scheduler at:",
            )
        )
        address = line.split()[-1]
        for _ in range(2):
            stack.enter_context(
                started(
                    *("dask_worker", address, "--nthreads=2", "--no-nanny", "--no-dashboard"),
                    until="Registered to:",
                )
            )
        code, said = run(pytester.path, f"dask:{address}", "./opt.py:KillsOneWorker")
    assert code == 0, said
    assert marker.exists()
    there = stored(Path(pytester.path, "out"))
    inline(pytester, "./opt.py:KillsOneWorker")
    here = stored(Path(pytester.path, "out"))
    assert [record["outcome"] for record in here] == 3 * ["passed"]
    assert untimed(there) == untimed(here)


@pytest.mark.proof
def test_jobs_give_the_same_records(pytester, own_suite, stored, untimed):
    code, said = run(pytester.path, "slurm:cluster=local,pack=2,folder=jobs", "adam")
    assert code == 0, said
    assert len(list(Path(pytester.path, "jobs").glob("*/*_submitted.pkl"))) == 2
    there = stored(Path(pytester.path, "out"))
    inline(pytester, "adam")
    assert untimed(there) == untimed(stored(Path(pytester.path, "out")))


@pytest.mark.proof
def test_a_job_that_dies_fails_its_calls_and_no_others(tmp_path):
    engine = Slurm(f"cluster=local,pack=2,folder={tmp_path}")
    try:
        lost = [engine.submit(os._exit, 3), engine.submit(int, "7")]
        kept = [engine.submit(int, "8"), engine.submit(int, "x"), engine.submit(int, "9")]
        engine.flush()
        for future in lost:
            with pytest.raises(RuntimeError, match=r"its job .* failed"):
                future.result(timeout=60)
        assert kept[0].result(timeout=60) == 8
        with pytest.raises(ValueError, match="invalid literal"):  # a call that raises fails alone
            kept[1].result(timeout=60)
        assert kept[2].result(timeout=60) == 9
    finally:
        engine.shutdown()


def test_what_slurm_is_given():
    assert _arguments("partition=cpu,mem_gb=4,slurm_gres=gpu:1") == {
        "partition": "cpu",
        "mem_gb": 4,
        "slurm_gres": "gpu:1",
    }


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("dask:tcp://127.0.0.1:1", "no scheduler answers there"),
        ("dask:local:none", "write dask:local:N"),
        ("slurm:cluster=local,nothing", "write key=value,..., not 'nothing'"),
        ("slurm:cluster=local,pack=none", "pack='none' must be a whole number"),
        ("slurm:cluster=local,unknown=1", "unknown"),
        ("nowhere_at_all:Engine", "cannot import nowhere_at_all"),
        ("queue:Queue", "has no submit"),
        ("queue:Queue:size=1", "unexpected keyword"),
    ],
)
def test_what_cannot_be_had_is_one_line(wanted, said, monkeypatch):
    monkeypatch.setattr("gradbench.engines.dask.WAIT", 1)
    with pytest.raises(ValueError, match=said) as error:
        choose(wanted, 1, "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wanted", ["inline", "dask:local:2", "queue:Queue"])
def test_a_time_limit_needs_an_engine_that_can_keep_it(wanted):
    with pytest.raises(ValueError, match=r"--gb-timeout: .* cannot end a worker"):
        choose(wanted, 1, "cpu", timeout=1.0)


@pytest.mark.parametrize(("engine", "module"), [("dask:local:1", "dask"), ("slurm", "submitit")])
def test_a_missing_extra_is_one_line(engine, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'pytest-gradbench\["):
        choose(engine, 1, "cpu")
