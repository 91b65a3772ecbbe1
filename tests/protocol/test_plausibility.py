"""Results too fast to be believed: the rule by hand, its numbers from the tables, and real runs."""

import importlib.util
import json
from importlib.resources import files
from pathlib import Path

import pytest

from gradbench.protocol.discovery import cases, suites
from gradbench.protocol.plausibility import fastest_standard, implausible
from gradbench.report.rows import remarks, verdict

TABLES = Path(__file__).parents[2] / "benchmarks" / "fastest.py"


@pytest.mark.parametrize(
    ("times", "fastest", "says"),
    [
        ([10, 12, 14], 100, ""),
        ([9, 9, 14], 100, "its median of 9 evaluations is 11 times below that of"),
        ([9, None, None], 100, ""),  # the median is not reached
        ([1, 1, 1], None, ""),
        ([0, 50, 60], None, "a trial was at its target before its first evaluation"),
        ([None, None], 100, ""),
        ([], 100, ""),
    ],
)
def test_the_rule(times, fastest, says):
    found = implausible(times, fastest)
    assert found.startswith(says)
    assert bool(found) == bool(says)


def test_the_fastest_are_those_of_the_tables_of_expectations():
    spec = importlib.util.spec_from_file_location("fastest", TABLES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stored = json.loads((files("gradbench.protocol") / "fastest.json").read_text())
    assert stored == module.measured()
    known = {case.id: case for case in cases([suites()], "quick")}
    assert fastest_standard("quick", known["parity-d10-weight5"]) == 75
    assert fastest_standard("quick", known["parity-d30-weight15"]) is None
    assert fastest_standard("paper", known["parity-d10-weight5"]) is None


def test_it_stands_beside_the_verdict(record):
    found = record("c", implausible="because")
    assert verdict(found).endswith(", implausible")
    assert "implausible: because" in remarks(found)
