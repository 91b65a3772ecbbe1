"""Optimizers that others published, from the registry, by the specs that docs/optimizers.md has."""

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.accept

PAGE = Path(__file__).parents[2] / "docs" / "optimizers.md"
ROW = re.compile(r"^\| `([\w-]+)` \| `(\w+:\w+)` \|$", re.MULTILINE)
RUNS = {
    "tuned": "-k parity-d5 --gb-seeds=2 --gb-tune=3",
    "together": "-k dying-bias0 --gb-seeds=2 --gb-tune=0 --gb-engine=inline",
    "alone": "-k dying-bias0 --gb-seeds=2 --gb-tune=0 --gb-engine=inline --gb-stack=off",
}
"""Tuned, as by default; and untuned, by the default path and one trial after another."""


@pytest.fixture(scope="module")
def reports(start, run, tmp_path_factory):
    """The folder of these runs."""
    folder = tmp_path_factory.mktemp("published")
    binaries = start[0] / ".venv" / "bin"
    rows = ROW.findall(PAGE.read_text())
    assert len(rows) >= 10
    run([f"pip install -q {' '.join(name for name, _ in rows)}"], folder, binaries=binaries)
    named = " ".join(f"--optimizer={spec}" for _, spec in rows)
    common = "--gb-probes=none --gb-gate=record"
    for name, options in RUNS.items():
        line = f"gradbench run {named} {options} {common} --gb-report-dir={name}"
        run([line], folder, binaries=binaries)
    return folder


def records(folder):
    lines = (folder / "latest" / "records.jsonl").read_text().splitlines()
    return {(one["case"], one["optimizer"]): one for one in map(json.loads, lines)}


def test_each_trains_and_solves_the_easiest_case(reports):
    found = records(reports / "tuned")
    assert len(found) == len(ROW.findall(PAGE.read_text()))
    assert {name for (_, name), one in found.items() if one["solved"] < 2} == set()


def test_each_trains_by_default_as_by_itself(reports):
    together, alone = records(reports / "together"), records(reports / "alone")
    assert together.keys() == alone.keys()
    assert len(together) == len(ROW.findall(PAGE.read_text()))
    for key, one in together.items():
        for a, b in zip(one["trials"], alone[key]["trials"], strict=True):
            assert a["status"] == b["status"], key
            assert len(a["curve"]) == len(b["curve"]), key
            for look, other in zip(a["curve"], b["curve"], strict=True):
                assert look == pytest.approx(other, rel=1e-3, abs=1e-4), key
