"""Where items run: the same records everywhere but for timings, and a process that dies."""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gradbench.engines.base import cores, workers
from gradbench.engines.processes import Processes, WorkerError
from gradbench.engines.worker import ControllerState, WorkerContext, run_in_worker
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.resume import finished
from gradbench.results.record import Expectation
from gradbench.session.dispatch import Dispatch
from gradbench.session.progress import LiveLine

HERE = Path(__file__).parents[1]


def item(optimizer="adam", **changes):
    case = Case(
        id="a",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 4, "weight": 2},
        budget=40,
        batch=16,
        expectation=Expectation.MAY,
    )
    return Item(case=case, optimizer=optimizer, **{"seeds": 2, "tuning": 2, **changes})


def records(pytester, stored, engine, *options):
    arguments = ("test_own.py", "--optimizer=adam", "--gb-seeds=2", f"--gb-engine={engine}")
    result = pytester.runpytest_inprocess(*arguments, f"--gb-report-dir={engine}", *options)
    folder = Path(pytester.path, engine)
    return result, stored(folder), json.loads((folder / "latest" / "run.json").read_text())


def test_processes_give_the_same_records_but_for_timings(pytester, own_suite, stored, untimed):
    here, ours, about = records(pytester, stored, "inline")
    there, theirs, other = records(pytester, stored, "processes:2")
    assert here.ret == there.ret == 0
    assert here.parseoutcomes() == there.parseoutcomes()
    assert (about["engine"], other["engine"]) == ("inline", "processes:2")
    assert [record["case"] for record in ours] == ["own-d4", "own-d5", "own-d6"]
    assert all(record["timing"]["contended"] for record in theirs)
    assert all(
        record["timing"]["seconds_per_step"]["median"] > 0 for record in ours[:2] + theirs[:2]
    )
    assert untimed(ours) == untimed(theirs)
    there.stdout.fnmatch_lines(["~: beside other work on the device*"])


def test_timings_are_of_single_trials(pytester, own_suite, stored):
    _, found, _ = records(pytester, stored, "inline")
    assert [record["path"] for record in found] == ["stacked", "stacked", "alone"]
    for record in found[:2]:
        step = record["timing"]["seconds_per_step"]["mean"]
        for trial in record["trials"]:
            assert trial["seconds"] == pytest.approx(step * trial["gradient_evaluations"], rel=0.5)
        assert record["timing"]["wall_seconds"] > 0
    _, alone, _ = records(pytester, stored, "inline", "--gb-stack=off")
    assert {record["path"] for record in alone} == {"alone"}


def around(*, shared=False):
    return ControllerState.of_this_process(shared=shared)


@pytest.mark.proof
def test_a_process_that_dies_costs_its_call_and_not_the_next(odd):
    said = []
    engine = Processes(["cpu"], lambda place, text: said.append((place, text)))
    try:
        dies = engine.submit(run_in_worker, item(f"{odd}:KillsItsProcess"), around())
        lives = engine.submit(run_in_worker, item(), around())
        with pytest.raises(WorkerError, match=r"its process died \(exit code -9\)"):
            dies.result(timeout=120)
        record, timed, trouble = lives.result(timeout=120)
    finally:
        engine.shutdown()
    assert not trouble
    assert record.seeds == 2
    assert timed[0].blocks
    assert record.timing["contended"] in (True, False)  # measured: the process is the only one
    assert {place for place, _ in said} >= {1}


@pytest.mark.proof
def test_a_call_that_takes_too_long_ends_with_its_process():
    engine = Processes(["cpu"], timeout=0.5)
    try:
        late, quick = engine.submit(time.sleep, 60), engine.submit(int, "7")
        with pytest.raises(WorkerError, match=r"its process died \(took longer than 0.5 s\)"):
            late.result(timeout=60)
        assert quick.result(timeout=60) == 7
    finally:
        engine.shutdown()


FORKS = """
import os, time

def forks(context):
    if os.fork() == 0:
        time.sleep(0.5)
        context.progress("from a child of a call that has ended")
        os._exit(0)

def waits():
    time.sleep(1.0)
    return "its own answer"
"""


@pytest.mark.proof
def test_the_child_of_a_call_that_has_ended_says_nothing_to_the_next(tmp_path, monkeypatch):
    (tmp_path / "forking.py").write_text(FORKS)
    monkeypatch.syspath_prepend(tmp_path)
    import forking

    messages = []
    engine = Processes(["cpu"], lambda number, text: messages.append((number, text)))
    try:
        engine.submit(forking.forks).result(timeout=60)
        assert engine.submit(forking.waits).result(timeout=60) == "its own answer"
    finally:
        engine.shutdown()
    assert messages == []


@pytest.mark.proof
def test_a_process_that_dies_with_nothing_to_do_costs_nothing():
    engine = Processes(["cpu"])
    try:
        os.kill(engine.submit(os.getpid).result(timeout=60), signal.SIGKILL)
        time.sleep(0.5)
        assert engine.submit(int, "7").result(timeout=60) == 7
    finally:
        engine.shutdown()


@pytest.mark.proof
def test_a_case_whose_process_dies_is_a_crashed_record_and_the_run_goes_on(
    pytester, own_suite, stored
):
    odd = HERE / "odd_optimizers.py"
    result = pytester.runpytest_inprocess(
        *("test_own.py", f"--optimizer={odd}:KillsItsProcess", "--optimizer=sgd", "--gb-seeds=1"),
        *("--gb-engine=processes:2", "--gb-report-dir=out", "-k", "d4"),
    )
    result.stdout.fnmatch_lines(["*its process died (exit code -9), 2 times*"])
    result.stdout.fnmatch_lines(["own-d4*sgd*"])
    dead, alive = stored(Path(pytester.path, "out"))
    assert (dead["outcome"], dead["key"], dead["trials"][0]["status"]) == ("failed", "", "crashed")
    assert list(finished(Path(pytester.path, "out", "latest"))) == [alive["key"]]


@pytest.mark.proof
def test_a_case_that_hangs_is_tried_twice_and_crashed(pytester, own_suite, stored):
    odd = HERE / "odd_optimizers.py"
    result = pytester.runpytest_inprocess(
        *("test_own.py", f"--optimizer={odd}:NeverReturns", "--gb-seeds=1", "--gb-timeout=1"),
        *("--gb-report-dir=out", "-k", "d4"),  # auto takes a process that it can end
    )
    result.stdout.fnmatch_lines(["*took longer than 1 s), 2 times*"])
    assert [r["outcome"] for r in stored(Path(pytester.path, "out"))] == ["failed"]


@pytest.mark.proof
def test_what_cannot_be_sent_fails_and_the_next_runs():
    engine = Processes(["cpu"])
    try:
        with pytest.raises(WorkerError, match=r"pickle|local object"):
            engine.submit(lambda: 1).result(timeout=60)
        assert engine.submit(int, "7").result(timeout=60) == 7
    finally:
        engine.shutdown()


@pytest.mark.proof
def test_what_a_call_raises_is_raised_here():
    engine = Processes(["cpu"])
    try:
        with pytest.raises(WorkerError, match="ValueError: invalid literal for int"):
            engine.submit(int, "x").result(timeout=60)
    finally:
        engine.shutdown()


def test_what_the_harness_raises_is_a_crashed_record_with_its_traceback():
    record, results, trouble = run_in_worker(item("nowhere"), around())
    assert "SpecError: unknown optimizer 'nowhere'" in results[0].reason
    assert (record.outcome, record.key, record.seeds) == ("failed", "", 2)
    assert "Traceback" in trouble


def test_items_leave_a_process_as_it_was():
    path, folder, threads = list(sys.path), Path.cwd(), torch.get_num_threads()
    settings = around().settings | {
        "matmul precision": "high",
        "deterministic algorithms": (True, True),
    }
    elsewhere = replace(around(), path=("/nowhere",), folder="/", settings=settings)
    record, *_ = run_in_worker(item(), elsewhere)
    assert record.seeds == 2
    assert (sys.path, Path.cwd(), torch.get_num_threads()) == (path, folder, threads)
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.are_deterministic_algorithms_enabled()


AT_IMPORT = """
import os
import torch
os.environ["SET_AT_IMPORT"] = "1"

class Needs(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        os.environ["SET_AT_IMPORT"]
        self.late = len(self.param_groups[0]["params"]) > 4

    def step(self, closure=None):
        if self.late:
            import imported_late_by_needs
        return super().step(closure)
"""


def test_what_an_optimizer_does_at_its_import_holds_for_its_later_items(tmp_path, monkeypatch):
    """It is imported once: neither is it put back, nor do its neighbours get lost."""
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setenv("SET_AT_IMPORT", "0")
    monkeypatch.delenv("SET_AT_IMPORT")
    (tmp_path / "at_import.py").write_text(AT_IMPORT)
    (tmp_path / "imported_late_by_needs.py").write_text("")
    context = WorkerContext()
    mine = item(f"{tmp_path}/at_import.py:Needs", tuning=0)
    deep = {"scenario": "gradbench.scenarios.saturation:Saturation", "setting": {"depth": 4}}
    for one in (mine, replace(mine, case=replace(mine.case, **deep))):
        record, *_ = run_in_worker(one, around(), context)
        assert "crashed" not in record.statuses, record.reason


def test_an_import_path_that_holds_a_path_is_no_trouble(monkeypatch, tmp_path):
    """Python ignores entries of sys.path that are no strings; a worker gets the others."""
    monkeypatch.setattr("sys.path", [tmp_path, *sys.path])
    assert around().path == tuple(sys.path[1:])
    engine = Processes(["cpu"])
    try:
        assert engine.submit(int, "3").result(timeout=120) == 3
    finally:
        engine.shutdown()


class Forgetful:
    """Loses the first call of each item, and its futures know only two words."""

    def __init__(self):
        self.seen = set()

    def submit(self, function, *args):
        first = repr(args) not in self.seen
        self.seen.add(repr(args))
        return SimpleNamespace(
            done=lambda: True, result=lambda: 1 / 0 if first else function(*args)
        )


def test_an_engine_that_loses_items_costs_each_one_more_try(monkeypatch):
    monkeypatch.setattr("gradbench.engines.base.custom", lambda text: Forgetful())
    dispatch = Dispatch(LiveLine(silent=True))
    dispatch.choose("lab:Forgetful", 2, "cpu", None)
    dispatch.begin([("a", item()), ("b", item("nowhere"))])
    record, _, trouble = dispatch.result("a", item())
    assert (record.outcome, trouble) != ("failed", "")
    dispatch.close()


def test_an_engine_that_loses_an_item_twice_leaves_a_record_of_it(monkeypatch):
    def lose(function, *args):
        raise ConnectionError("no scheduler")

    monkeypatch.setattr("gradbench.engines.base.custom", lambda text: SimpleNamespace(submit=lose))
    dispatch = Dispatch(LiveLine(silent=True))
    dispatch.choose("lab:Lost", 1, "cpu", None)
    record, results, _ = dispatch.result("a", replace(item(), key="k"))
    assert results[0].reason == "ConnectionError: no scheduler, 2 times"
    assert (record.outcome, record.key) == ("failed", "")


def test_how_far_is_said_honestly():
    class Future:
        def __init__(self, *, done=False, running=None):
            self.done = lambda: done
            if running is not None:
                self.running = lambda: running

    dispatch = Dispatch(LiveLine(silent=True))
    dispatch._chosen = SimpleNamespace(workers=lambda: 2)
    dispatch._futures = {"a": Future(done=True, running=False), "b": Future(running=True)}
    assert dispatch._far() == "1 done, 1 running, 0 waiting, 2 workers, time left unknown"
    dispatch._answers, dispatch._begun = dict.fromkeys("wxyz"), time.monotonic() - 50
    assert dispatch._far() == "5 done, 1 running, 0 waiting, 2 workers, about 10 s left"
    dispatch._futures["c"] = Future()  # of an engine that does not say what runs
    dispatch._chosen = SimpleNamespace(workers=lambda: None)
    assert dispatch._far() == "5 done, 2 to go, about 20 s left"


def test_how_many_processes(monkeypatch):
    monkeypatch.setattr("gradbench.engines.base.cores", lambda: 4)
    assert workers("inline", 100, "cpu") == []
    assert workers("processes", 1, "cpu") == 4 * ["cpu"]
    assert workers("processes:3", 1, "cpu") == 3 * ["cpu"]
    assert workers("auto", 100, "cpu") == 4 * ["cpu"]
    assert workers("auto", 11, "cpu") == 2 * ["cpu"]
    assert workers("auto", 7, "cpu") == []
    assert workers("auto", 100, "meta:0") == []  # one device of an accelerator
    assert workers("auto", 32, "meta:0", {"a"}) == ["meta:0"]  # apart from what is not torch's
    assert workers("auto", 31, "meta:0", {"a"}) == []
    assert workers("auto", 100, "meta:0", {""}) == []
    assert workers("auto", 2, "meta:0", {"", "a"}) == ["meta:0"]  # apart from each other
    assert workers("auto", 2, "cpu", {"b", "a"}) == ["cpu"]
    assert workers("auto", 100, "cpu", {"a"}) == 4 * ["cpu"]
    assert workers("processes:2", 100, "meta:0") == 2 * ["meta:0"]


def test_this_machine_has_a_core():
    assert cores() >= 1


@pytest.mark.parametrize(
    "value", ["many", "processes:0", "processes:x", "inline:2", "dask:", "dask", ":x"]
)
def test_a_wrong_engine_is_one_line(pytester, value):
    result = pytester.runpytest(f"--gb-engine={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --gb-engine={value}: choose from auto, inline, processes, processes:N, dask*"]
    )


@pytest.mark.proof
def test_what_an_optimizer_prints_in_a_process_is_not_shown(pytester, own_suite):
    pytester.makepyfile(
        loud="""
        import os, sys, torch

        class Loud(torch.optim.SGD):
            def __init__(self, params, lr=0.1):
                print("a banner")
                print("a banner", file=sys.stderr)
                os.write(1, b"a banner\\n")
                super().__init__(params, lr)
        """
    )
    result = pytester.runpytest_subprocess(
        "--optimizer=./loud.py:Loud", "--gb-engine=processes:1", "--gb-seeds=1", "--gb-tune=0"
    )
    assert "a banner" not in result.stdout.str() + result.stderr.str()
    assert "Loud" in result.stdout.str()
