"""Where items run: the same records everywhere but for timings, and a process that dies."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gradbench.case import Case
from gradbench.engine import cores, workers
from gradbench.item import Item
from gradbench.processes import Processes, WorkerError
from gradbench.record import Expectation

HERE = Path(__file__).parent

SUITE = """
import pytest
from gradbench.case import Case
from gradbench.record import Expectation

def cases(preset):
    for d, approach in ((4, "gradient"), (5, "gradient"), (6, "elimination")):
        yield Case(
            id=f"own-d{d}",
            scenario="gradbench.scenarios.parity:Parity",
            setting={"d": d, "weight": 2, "approach": approach},
            budget=60,
            batch=32,
            expectation=Expectation.MAY if approach == "gradient" else Expectation.LEARNER,
        )

@pytest.mark.gradbench(cases=cases)
def test_own(attempt):
    attempt()
"""


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


def untimed(records):
    """What of records does not hang on how long anything took."""
    for record in records:
        del record["timing"]
        record["tuning_cost"].pop("seconds", None)
        for trial in record["trials"]:
            del trial["seconds"], trial["seconds_to_target"]
    return records


def records(pytester, engine, *options):
    arguments = ("test_own.py", "--optimizer=adam", "--gb-seeds=2", f"--gb-engine={engine}")
    result = pytester.runpytest_inprocess(*arguments, f"--gb-report-dir={engine}", *options)
    folder = Path(pytester.path, engine, "latest")
    lines = (folder / "records.jsonl").read_text().splitlines()
    return (
        result,
        [json.loads(line) for line in lines],
        json.loads((folder / "run.json").read_text()),
    )


def test_processes_give_the_same_records_but_for_timings(pytester):
    pytester.makepyfile(test_own=SUITE)
    here, ours, about = records(pytester, "inline")
    there, theirs, other = records(pytester, "processes:2")
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


def test_timings_are_of_single_trials(pytester):
    pytester.makepyfile(test_own=SUITE)
    _, found, _ = records(pytester, "inline")
    assert [record["path"] for record in found] == ["stacked", "stacked", "alone"]
    for record in found[:2]:
        step = record["timing"]["seconds_per_step"]["mean"]
        for trial in record["trials"]:
            assert trial["seconds"] == pytest.approx(step * trial["gradient_evaluations"], rel=0.5)
        assert record["timing"]["wall_seconds"] > 0
    _, alone, _ = records(pytester, "inline", "--gb-stack=off")
    assert {record["path"] for record in alone} == {"alone"}


def test_a_process_that_dies_costs_its_item_and_not_the_next(odd):
    said = []
    engine = Processes(["cpu"], lambda place, text: said.append((place, text)))
    try:
        dies = engine.submit(item(f"{odd}:KillsItsProcess"))
        lives = engine.submit(item())
        with pytest.raises(WorkerError, match=r"its process died 2 times \(exit code -9\)"):
            dies.result(timeout=120)
        record, timed = lives.result(timeout=120)
    finally:
        engine.close()
    assert record.seeds == 2
    assert timed[0].blocks
    assert record.timing["contended"] in (True, False)  # measured: the process is the only one
    assert {place for place, _ in said} >= {1}


def test_a_case_whose_process_dies_fails_and_the_run_goes_on(pytester):
    pytester.makepyfile(test_own=SUITE)
    odd = HERE / "odd_optimizers.py"
    result = pytester.runpytest_inprocess(
        *("test_own.py", f"--optimizer={odd}:KillsItsProcess", "--optimizer=sgd", "--gb-seeds=1"),
        *("--gb-engine=processes:2", "--gb-report-dir=out", "-k", "d4"),
    )
    result.stdout.fnmatch_lines(["*its process died 2 times*"])
    result.stdout.fnmatch_lines(["own-d4*sgd*"])


def test_what_cannot_be_sent_fails_and_the_next_runs():
    engine = Processes(["cpu"], lambda *_: None)
    try:
        case = replace(item().case, setting={"hook": lambda: 1})
        with pytest.raises(WorkerError, match="pickle"):
            engine.submit(replace(item(), case=case)).result(timeout=60)
        assert engine.submit(item()).result(timeout=60)[0].seeds == 2
    finally:
        engine.close()


def test_what_an_item_raises_is_raised_here():
    engine = Processes(["cpu"], lambda *_: None)
    try:
        with pytest.raises(WorkerError, match="SpecError: unknown optimizer 'nowhere'"):
            engine.submit(item("nowhere")).result(timeout=60)
    finally:
        engine.close()


def test_how_many_processes(monkeypatch):
    monkeypatch.setattr("gradbench.engine.cores", lambda: 4)
    assert workers("inline", 100, "cpu") == []
    assert workers("processes", 1, "cpu") == 4 * ["cpu"]
    assert workers("processes:3", 1, "cpu") == 3 * ["cpu"]
    assert workers("auto", 100, "cpu") == 4 * ["cpu"]
    assert workers("auto", 11, "cpu") == 2 * ["cpu"]
    assert workers("auto", 7, "cpu") == []
    assert workers("auto", 100, "meta:0") == []  # one device of an accelerator
    assert workers("processes:2", 100, "meta:0") == 2 * ["meta:0"]


def test_this_machine_has_a_core():
    assert cores() >= 1


@pytest.mark.parametrize("value", ["many", "processes:0", "processes:x", "inline:2"])
def test_a_wrong_engine_is_one_line(pytester, value):
    result = pytester.runpytest(f"--gb-engine={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --gb-engine={value}: choose from auto, inline, processes and processes:N"]
    )
