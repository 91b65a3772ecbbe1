"""A declared search space: the same points for all, nested, recorded."""

import itertools

import pytest

from gradbench.optimizers.factory import resolve
from gradbench.optimizers.search_space import Axis, points
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import run_item
from gradbench.protocol.tuning import FURTHER, Point, best_of
from gradbench.results.record import Expectation
from gradbench.spec import SpecError

AXES = (Axis("lr", 1e-4, 1.0, "log"), Axis("momentum", 0.5, 0.9))

MINE = """
import torch
class Mine(torch.optim.SGD):
    gradbench_space = {space}
"""


@pytest.mark.parametrize("count", range(1, 12))
def test_a_smaller_budget_is_a_prefix_of_a_larger_one(count):
    assert points(AXES, count) == points(AXES, 40)[:count]
    assert points(AXES, count)[0] == {}


def test_points_fill_the_space_evenly():
    """Of 64 Sobol points each eighth of an axis, on its own scale, holds eight."""
    found = points(AXES, 65)[1:]
    for axis, share in ((AXES[0], lambda v: -v / 4), (AXES[1], lambda v: (v - 0.5) / 0.4)):
        import math

        values = [p[axis.name] for p in found]
        assert all(axis.low <= v <= axis.high for v in values)
        at = [1 + math.log10(v) / 4 if axis.scale == "log" else share(v) for v in values]
        counts = [sum(i / 8 <= a < (i + 1) / 8 for a in at) for i in range(8)]
        assert counts == [8] * 8


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ("{'lr': (1, 0.1)}", "low below high"),
        ("{'lr': (0, 1, 'log')}", "above 0 for log"),
        ("{'lr': 3}", "maps names to"),
        ("[1]", "maps names to"),
        ("{'momentum': (0.1, 0.9)}", "has no lr"),
        ("{'lr': (0.1, 1), 'nosuch': (0, 1)}", "has no argument 'nosuch'"),
    ],
)
def test_a_space_that_cannot_be_used_says_why(tmp_path, space, told):
    (tmp_path / "mine.py").write_text(MINE.format(space=space))
    with pytest.raises(SpecError, match=told):
        resolve(f"{tmp_path}/mine.py:Mine")


def item(spec, **changes):
    case = Case(
        id="periodic-d5-r1",
        scenario="gradbench.scenarios.periodic:Periodic",
        setting={"d": 5, "r": 1.0},
        budget=80,
        expectation=Expectation.MAY,
    )
    return Item(case=case, optimizer=spec, seeds=1, **changes)


def test_it_takes_the_place_of_the_rates_with_as_many_points(tmp_path):
    (tmp_path / "mine.py").write_text(
        MINE.format(space="{'lr': (1e-3, 1.0, 'log'), 'momentum': (0.5, 0.9)}")
    )
    record, _ = run_item(item(f"{tmp_path}/mine.py:Mine", tuning=4))
    tried = [entry["hyperparameters"] for entry in record.tuning if entry["seed"] == -1]
    assert len(tried) == 4
    assert tried[0] == {"lr": 1e-3}
    assert all(set(entry) == {"lr", "momentum"} for entry in tried[1:])
    assert record.hyperparameters in tried
    assert "searched the space that its class declares: lr, momentum" in record.notes
    assert record.tuning_cost["gradient_evaluations"] == sum(
        entry["gradient_evaluations"] for entry in record.tuning
    )


def test_what_the_spec_fixes_is_not_searched(tmp_path):
    (tmp_path / "mine.py").write_text(
        MINE.format(space="{'lr': (1e-3, 1.0, 'log'), 'momentum': (0.5, 0.9)}")
    )
    spec = f"{tmp_path}/mine.py:Mine"
    assert [axis.name for axis in resolve(f"{spec}:momentum=0.7").space] == ["lr"]
    assert not resolve(f"{spec}:lr=0.1").tunable


def test_the_expected_best_of_k_is_that_of_all_subsets():
    found = [Point(0, 1, 50, 0.9), Point(1, 0, 100, 0.2, failed=True), Point(-1, 1, 30, 0.8)]
    found.append(Point(2, 0, 100, 0.5))
    costs, scores = [50, 100, 30, 100], [0.9, 0.0, 0.8, 0.5]
    for entry in best_of(found, 100):
        subsets = list(itertools.combinations(range(4), entry["k"]))
        wanted = sum(min(costs[i] for i in s) for s in subsets) / len(subsets)
        assert entry["evaluations"] == pytest.approx(wanted)
        wanted = sum(max(scores[i] for i in s) for s in subsets) / len(subsets)
        assert entry["score"] == pytest.approx(wanted)


def test_everyone_s_sweep_records_its_cost_and_its_best_of_k():
    record, _ = run_item(item("adam", tuning=3))
    tried = len({point["lr"] for point in record.tuning})  # three, and more from the edge
    assert 3 <= tried <= 3 + FURTHER
    assert [e["k"] for e in record.tuning_cost["best_of"]] == list(range(1, tried + 1))
    falls = [entry["evaluations"] for entry in record.tuning_cost["best_of"]]
    assert falls == sorted(falls, reverse=True)


def test_a_whole_number_stays_one():
    values = {p["k"] for p in points((Axis("lr", 0.1, 1.0), Axis("k", 1, 5, "int")), 30)[1:]}
    assert values == {1, 2, 3, 4, 5}
    assert all(isinstance(value, int) for value in values)
