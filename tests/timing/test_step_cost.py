"""The cost of a step: what is counted, and that what does not move is not measured."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from gradbench.protocol.discovery import suites
from gradbench.timing import step_cost as stepcost
from gradbench.timing.step_cost import SETS, StepCost, bandwidth, cost_fields, floor

SMALL = [(40, 30), (40,), (1,)]
FILE = str(suites() / "test_step_cost.py")


def count(shapes):
    return sum(torch.Size(shape).numel() for shape in shapes)


def test_the_sets_are_those_of_the_networks_they_are_named_after():
    layers = [nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16)]
    for before, width in ((16, 16), (16, 32), (32, 64)):
        for fan_in in (before, *[width] * 5):
            layers += [nn.Conv2d(fan_in, width, 3, bias=False), nn.BatchNorm2d(width)]
    network = nn.Sequential(*layers, nn.Linear(64, 10))
    assert sorted(SETS["resnet"]()) == sorted(tuple(p.shape) for p in network.parameters())
    block = nn.TransformerEncoderLayer(384, 6, 4 * 384)
    shapes = [p.shape for _ in range(6) for p in block.parameters()]
    shapes += [p.shape for p in nn.LayerNorm(384).parameters()] + [(65, 384), (256, 384)]
    assert sorted(SETS["gpt"]()) == sorted(tuple(shape) for shape in shapes)
    assert count(SETS["matrix"]()) == 2**20
    assert len(SETS["many"]()) == 10_000


@pytest.mark.parametrize(
    ("spec", "tensors"),
    [("sgd", 0), ("sgd:momentum=0.9", 1), ("adam", 2), ("adam:amsgrad=True", 3)],
)
def test_state_is_counted(spec, tensors):
    cost = StepCost(spec, SMALL, "cpu")
    cost.refresh()
    cost.step()
    numbers = count(SMALL)
    steps = 4 * len(SMALL) * ("adam" in spec)  # its counters
    assert cost.state_bytes() == 4 * tensors * numbers + steps
    assert cost_fields(cost, 1.0)["state_bytes_per_parameter"] == cost.state_bytes() / numbers


def test_each_step_has_fresh_gradients_and_moves_all(odd):
    cost, still = StepCost("adam", SMALL, "cpu"), StepCost(f"{odd}:Null", SMALL, "cpu")
    cost.refresh()
    first = [grad.clone() for grad in cost.grads]
    cost.step()
    assert cost.moved()
    cost.refresh()
    assert not any(map(torch.equal, first, cost.grads))
    assert not cost.moved()  # none since
    still.refresh()
    still.step()
    assert not still.moved()
    cost.parameters[0].data.fill_(torch.nan)
    assert not cost.moved()


PEAKS = """
from gradbench.timing.step_cost import StepCost
for spec in ("sgd", "{odd}:TakesMemory"):
    cost = StepCost(spec, [(40, 30)], "cpu")
    cost.refresh()
    cost.step()
    cost.measure()
    print(cost.peak)
"""


@pytest.mark.proof
def test_a_peak_is_what_a_step_takes_on_top(odd):
    """The odd one fills 64 MB in its step. In a process of its own: a large one's memory moves."""
    command = [sys.executable, "-c", PEAKS.format(odd=odd)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    if said[0] == "None":
        pytest.skip("this system tells no peak")
    plain, greedy = map(int, said)
    assert plain < 2**23
    assert 2**25 < greedy < 2**27


def test_the_floor_is_three_numbers_moved_per_parameter(monkeypatch):
    monkeypatch.setattr(stepcost, "bandwidth", lambda _: 12e9)
    assert floor(10**9, "cpu") == pytest.approx(1.0)
    assert cost_fields(StepCost("sgd", [(1000,)], "cpu"), 2e-6)["over_floor"] == pytest.approx(2.0)


def test_bandwidth_is_that_of_a_copy():
    assert 1e8 < bandwidth("cpu") < 1e13


@pytest.mark.parametrize(("spec", "why"), [("adahessian", "create_graph"), ("lomo", "fused")])
def test_what_needs_a_network_says_so(spec, why):
    assert why in StepCost(spec, SMALL, "cpu").why_not


def test_cases_run_only_when_asked_for_and_print_a_table(pytester, odd):
    arguments = (FILE, "--optimizer=adam", f"--optimizer={odd}:Null", "-k", "resnet")
    pytester.runpytest(*arguments).assert_outcomes(deselected=8)
    result = pytester.runpytest(*arguments, "-m", "step_cost", "--benchmark-json=out.json")
    result.assert_outcomes(passed=1, failed=1, deselected=6)
    result.stdout.fnmatch_lines(
        ["*a step left a parameter where it was*", "optimizer*ms/step*x floor*", "adam*8.00*"]
    )
    assert '"over_floor"' in (pytester.path / "out.json").read_text()


def test_without_an_optimizer_they_skip(pytester):
    pytester.runpytest(FILE, "-m", "step_cost").assert_outcomes(skipped=4)


def test_the_papers_optimizer_is_none_of_one_name(pytester):
    result = pytester.runpytest(FILE, "-m", "step_cost", "--optimizer=paper")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: -m step_cost: paper is another optimizer in every case"])


def test_a_wrong_name_is_one_line(pytester):
    result = pytester.runpytest(FILE, "-m", "step_cost", "--optimizer=adma")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: unknown optimizer 'adma'*"])
