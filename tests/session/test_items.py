"""An item that runs twice, is cut short, or ends in an unusual way is one record, and says so."""

import json
from dataclasses import replace

import pytest

from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import run_item
from gradbench.results.record import Expectation
from gradbench.session.dispatch import checked

LONG = pytest.mark.proof


CASES = ("test_own.py", "--gb-seeds=2", "--gb-tune=0", "--gb-probes=none", "-k", "own-d4 or own-d5")
PLUGINS = ("-p", "no:cacheprovider")

ENDS = """
import asyncio, os, sys, time
import pytest, torch

def ending(act):
    class Ends(torch.optim.SGD):
        def __init__(self, params, lr=0.1):
            super().__init__(params, lr=lr)
        def step(self, closure=None):
            act()
            return super().step()
    return Ends

def raising(error):
    def act():
        raise error
    return ending(act)

class Mine(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)

Sleeps = ending(lambda: time.sleep(0.2))
Skips = ending(lambda: pytest.skip("not today"))
Expects = ending(lambda: pytest.xfail("as ever"))
Leaves = ending(lambda: os._exit(0))
Quits = ending(lambda: sys.exit(0))
Cancels = raising(asyncio.CancelledError())
Bare = raising(BaseException("no exception"))
Ended = raising(GeneratorExit())
Stops = raising(pytest.exit.Exception("enough"))

def trace():
    import logging
    logging.getLogger("torch.__trace").debug("one line for a graph")
    logging.getLogger("mine").warning("shown as ever")
    raise ValueError("so that the item fails")
Traces = ending(trace)

forked = []
def fork():
    if not forked:
        forked.append(os.getpid())
        os.fork()
Forks = ending(fork)
"""


@pytest.fixture
def run(pytester, own_suite):
    (pytester.path / "ends.py").write_text(ENDS)

    def run(name, *options):
        spec = f"--optimizer=./ends.py:{name}"
        result = pytester.runpytest_subprocess(*CASES, *PLUGINS, spec, *options, timeout=120)
        file = pytester.path / "reports" / "latest" / "records.jsonl"
        return result, [json.loads(line) for line in file.read_text().splitlines()]

    return run


@pytest.mark.parametrize("engine", ["inline", pytest.param("processes:2", marks=LONG)])
@pytest.mark.proof
def test_an_item_that_is_run_again_is_one_record_and_one_entry_of_a_baseline(pytester, run, engine):
    result, found = run(
        "Skips",
        "--reruns=2",
        f"--gb-engine={engine}",
        "--gb-baseline=base.json",
        "--gb-update-baseline",
    )
    assert [record["case"] for record in found] == ["own-d4", "own-d5"]
    result.assert_outcomes(failed=2)
    run("Mine", "--reruns=2", "--gb-baseline=base.json", "--gb-update-baseline")
    assert len(json.loads((pytester.path / "base.json").read_text())["cases"]) == 2


@pytest.mark.parametrize("engine", ["processes:1", pytest.param("inline", marks=LONG)])
@pytest.mark.proof
def test_an_item_whose_time_a_plugin_ends_is_crashed_and_the_next_runs(run, engine):
    result, found = run("Sleeps", "--timeout=3", "--timeout-method=signal", f"--gb-engine={engine}")
    assert result.ret == 1
    assert [record["outcome"] for record in found] == ["failed", "failed"]
    assert "Timeout" in found[0]["trials"][0]["reason"]
    assert not any(record["key"] for record in found)


ENDINGS = ("Skips", "Expects", "Leaves", "Quits", "Cancels", "Bare", "Ended", "Stops")


@pytest.mark.proof
@pytest.mark.parametrize("engine", ["inline", "processes:2"])
def test_whatever_ends_a_case_is_a_crashed_record_with_its_reason(run, engine):
    more = [f"--optimizer=./ends.py:{name}" for name in ENDINGS[1:]]
    result, found = run(ENDINGS[0], *more, "-k", "own-d4", f"--gb-engine={engine}")
    assert result.ret == 1
    result.assert_outcomes(failed=len(ENDINGS))
    assert [record["optimizer"] for record in found] == [f"./ends.py:{name}" for name in ENDINGS]
    assert {trial["status"] for record in found for trial in record["trials"]} == {"crashed"}
    assert all(trial["reason"] for record in found for trial in record["trials"])


@pytest.mark.parametrize("engine", ["processes:1", pytest.param("inline", marks=LONG)])
@pytest.mark.proof
def test_a_fork_in_a_step_answers_for_nothing(run, engine):
    result, found = run("Forks", f"--gb-engine={engine}")
    assert [record["case"] for record in found] == ["own-d4", "own-d5"]
    assert result.ret == 0
    assert len(result.stdout.str().split("report:")) == 2


@pytest.mark.parametrize("how", ["os._exit(0)", "pytest.skip('no', allow_module_level=True)"])
@pytest.mark.parametrize("where", ["module", "constructor"])
def test_what_ends_the_process_when_it_is_named_is_one_line(pytester, own_suite, how, where):
    indent = "" if where == "module" else "        "
    (pytester.path / "odd.py").write_text(
        "import os, pytest, torch\nclass Odd(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=0.1):\n        super().__init__(params, lr=lr)\n"
        f"{indent}{how}\n"
    )
    result = pytester.runpytest_inprocess(*CASES, *PLUGINS, "--optimizer=./odd.py:Odd")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: './odd.py:Odd': cannot *"])


def test_an_answer_must_be_of_its_item():
    case = Case(
        id="a",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 4, "weight": 2},
        budget=20,
        expectation=Expectation.MAY,
    )
    item = Item(case=case, optimizer="sgd", seeds=1, tuning=0, key="k")
    answer = *run_item(item), ""
    assert checked(item, answer) is not None
    others = [
        replace(item, key="l"),
        replace(item, optimizer="adam"),
        replace(item, architecture="mlp"),
        replace(item, case=replace(case, id="b")),
    ]
    for other in others:
        with pytest.raises(ValueError, match="its answer is of another item"):
            checked(other, answer)


def test_torchs_trace_of_compilation_is_not_shown_for_a_failed_item(run):
    """pytest's handler would also make torch write it: the logger has no other handler."""
    result, _ = run("Traces", "-k", "own-d4")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("*shown as ever*")
    result.stdout.no_fnmatch_line("*torch.__trace*")
