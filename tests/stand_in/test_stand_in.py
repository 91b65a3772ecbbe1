"""What only a device can show, on a device that the host imitates; it takes a C++ compiler."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler here"),
]

LINES = """
import stand_in_device as device
import torch
from lines_that_wait import LINES, tensors

for waits, lines in LINES.items():
    for line in map(str.strip, lines.strip().splitlines()):
        there, here = tensors(torch.device("stand_in"))
        before = device.waits()
        exec(line, here | there)
        if (device.waits() > before) is not waits:
            print(line, device.waits() - before)
"""

COUNTS = """
from gradbench.checks.host_waits import counted_on, counted_on_the_cpu
from gradbench.optimizers.factory import resolve
from gradbench.torch_state import unchanged
import torch

NAMES = "sgd adam adamw rmsprop adagrad adadelta nadam adamax radam asgd rprop lbfgs adafactor"
for name in NAMES.split():
    with unchanged(torch.float32):
        there = counted_on("stand_in", resolve(name + FOREACH.get(name, ":foreach=True")))
        here = counted_on_the_cpu(resolve(name))
    if len(there) != len(here):
        print(name, len(there), len(here))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stand_in")


@pytest.fixture
def run(folder, tmp_path):
    """Return a function that runs a program with the device, and gives its code and output."""

    def run(*words):
        command = [sys.executable, "-W", "ignore", str(HERE / "stand_in.py"), str(folder), *words]
        known = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent / "checks")])
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": known},
        )
        return done.returncode, done.stdout, done.stderr

    return run


def script(tmp_path, text):
    file = tmp_path / "script.py"
    file.write_text(text)
    return str(file)


def test_lines_wait_or_do_not_as_they_are_said_to(run, tmp_path):
    assert run(script(tmp_path, LINES))[:2] == (0, "")


def test_waits_that_are_counted_on_the_cpu_are_those_of_the_device(run, tmp_path):
    options = 'FOREACH = {"lbfgs": ""}\n'
    assert run(script(tmp_path, options + COUNTS))[:2] == (0, "")


@pytest.mark.parametrize("spec", ["adam", "asgd", "sgd:momentum=0.9"])
def test_the_checks_of_a_device_pass(run, spec):
    code, out, err = run("gradbench", "check", spec, "--format=json")
    assert code == 0, err
    found = {each["check"]: each for each in json.loads(out)[0]["checks"]}
    assert found["runs on the device"]["said"] == "stand_in"
    assert found["loads its state on another device"]["said"] == "to stand_in and back"


@pytest.mark.parametrize("spec", ["adam", "radam", "asgd"])
def test_steps_that_can_be_captured_equal_plain_ones(run, spec):
    code, out, _ = run("gradbench", "conform", spec, "--against=capturable", "--steps=30")
    assert (code, "within 1e-10" in out) == (0, True)


def test_a_run_comes_to_what_it_comes_to_on_the_cpu(run, tmp_path):
    found = []
    for device in ("stand_in", "cpu"):
        report = tmp_path / device
        words = ["-k", "parity-d5 or delay-t4 or precision-bfloat16 or chain-k5", "-q"]
        words += [f"--gb-device={device}", "--optimizer=adam", "--gb-seeds=2", "--gb-engine=inline"]
        words += [f"--gb-report-dir={report}", "--gb-gate=record", "-p", "no:cacheprovider"]
        code, out, err = run("pytest", str(HERE.parents[1] / "suites"), *words)
        assert code == 0, out + err
        lines = (report / "latest" / "records.jsonl").read_text().splitlines()
        found.append({record["case"]: record for record in map(json.loads, lines)})
    there, here = found
    assert len(there) == len(here) == 4
    for case, record in there.items():
        assert record["timing"]["clock"] == "stand_in-synchronized"
        assert record["solved"] == here[case]["solved"], case
