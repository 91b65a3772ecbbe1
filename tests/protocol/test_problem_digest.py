"""Every case poses the same problem wherever it is drawn: digests as committed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradbench.protocol.discovery import cases, suites
from gradbench.protocol.problem_digest import digest
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity

FILE = Path(__file__).with_name("problems.json")

PRINTS = """
import json, sys, torch
sys.path.insert(0, sys.argv[1])
from test_problem_digest import digests
print(json.dumps([torch.backends.cpu.get_cpu_capability(), digests()]))
"""


def digests():
    return {
        preset: {c.id: digest(c.build(), preset, c.batch) for c in cases([suites()], preset)}
        for preset in ("quick", "standard", "paper")
    }


def test_problems_are_those_of_the_file():
    found = digests()
    if os.environ.get("GRADBENCH_WRITE"):
        FILE.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(FILE.read_text()), "GRADBENCH_WRITE=1 writes it anew"


@pytest.mark.proof
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_problems_are_those_of_the_file_whatever_the_processor_can(capability):
    environment = os.environ | {"ATEN_CPU_CAPABILITY": capability}
    command = [sys.executable, "-c", PRINTS, str(Path(__file__).parent)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    name, found = json.loads(ran.stdout)
    assert capability != "default" or name in {"DEFAULT", "NO AVX"}
    assert found == json.loads(FILE.read_text())


def test_a_digest_sees_target_weights_data_and_their_order(monkeypatch):
    scenario = Parity(d=5, weight=2)
    plain = digest(scenario, "quick", 8)
    others = {digest(scenario, "quick", 8, seed=1), digest(scenario, "standard", 8)}
    others |= {digest(Parity(d=5, weight=3), "quick", 8), digest(scenario, "quick", 9)}
    for name, value in (
        ("draw_target", lambda self, draws: {"support": draws.permutation(5)[:2]}),
        (
            "network",
            lambda self, draws: type(self).solution(self, {"support": draws.integers(5, 2)}),
        ),
        ("sample", lambda self, target, n, draws: self._label(1 - draws.bits(n, 5), target)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Parity, name, value)
            digest.cache_clear()
            others.add(digest(scenario, "quick", 8))
    digest.cache_clear()
    assert plain == digest(scenario, "quick", 8)
    assert len(others | {plain}) == 8


def test_batch_t_can_be_had_without_those_before_it():
    scenario = next(cases([suites()], "quick")).build()
    target = scenario.draw_target(Draws(1))
    whole = scenario.sample(target, 300, Draws(2))
    part = scenario.sample(target, 100, Draws(2, first=200))
    assert all((a[200:] == b).all() for a, b in zip(whole, part, strict=True))
