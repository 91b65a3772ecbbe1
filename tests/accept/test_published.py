"""Optimizers that others published, from the registry, by the specs that docs/optimizers.md has."""

import json
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.accept

PAGE = Path(__file__).parents[2] / "docs" / "optimizers.md"
ROW = re.compile(r"^\| `([\w-]+)` \| `(\w+:\w+)` \|$", re.MULTILINE)
CASES = "-k 'parity-d5 or dying-bias0' --gb-probes=none"
SHORT = "--gb-seeds=2 --gb-tune=3"


@pytest.fixture(scope="module")
def reports(start, run, tmp_path_factory):
    """The folder of two runs, trained together where that is the default, and one by one."""
    folder = tmp_path_factory.mktemp("published")
    binaries = start[0] / ".venv" / "bin"
    rows = ROW.findall(PAGE.read_text())
    assert len(rows) >= 10
    run([f"pip install -q {' '.join(name for name, _ in rows)}"], folder, binaries=binaries)
    named = " ".join(f"--optimizer={spec}" for _, spec in rows)
    for stack in ("auto", "off"):
        line = f"gradbench run {named} {CASES} {SHORT} --gb-stack={stack} --gb-report-dir={stack}"
        run([f"{line} --gb-gate=record"], folder, binaries=binaries)
    return folder


def records(folder):
    lines = (folder / "latest" / "records.jsonl").read_text().splitlines()
    return {(one["case"], one["optimizer"]): one for one in map(json.loads, lines)}


def test_each_trains_and_solves_the_easiest_case(reports):
    found = records(reports / "auto")
    assert len(found) == 2 * len(ROW.findall(PAGE.read_text()))
    statuses = {trial["status"] for one in found.values() for trial in one["trials"]}
    assert statuses <= {"solved", "unsolved"}
    unsolved = [o for (c, o), one in found.items() if c.startswith("parity") and not one["solved"]]
    assert unsolved == []


def test_each_trains_by_default_as_by_itself(reports):
    together, alone = records(reports / "auto"), records(reports / "off")
    assert together.keys() == alone.keys()
    for key, one in together.items():
        for a, b in zip(one["trials"], alone[key]["trials"], strict=True):
            assert a["status"] == b["status"], key
            assert len(a["curve"]) == len(b["curve"]), key
            for look, other in zip(a["curve"], b["curve"], strict=True):
                assert look == pytest.approx(other, rel=1e-3, abs=1e-4), key
