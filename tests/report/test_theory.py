"""Laws and profiles in reports, from trials that were really run."""

from dataclasses import asdict

import pytest

from gradbench.protocol.discovery import cases, suites
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import run_item
from gradbench.report.laws import laws, rows
from gradbench.report.profile import profile
from gradbench.session.declared_options import PRESETS

LAWS = {"chain", "zipf", "blocks", "leap", "heavy-tails", "counterexample", "precision"}
LAWS |= {"rotation", "delay"}


@pytest.fixture(scope="module")
def records():
    wanted = ("zipf-d100", "zipf-d2000", "heavytails-nu5")
    quick = [case for case in cases([suites()], "quick") if case.id in wanted]
    assert len(quick) == len(wanted)
    items = [Item(case=case, optimizer=spec, seeds=3, tuning=0) for case in quick for spec in SPECS]
    return [run_item(item)[0] for item in items]


SPECS = ("sgd:momentum=0.9,lr=10", "adam:lr=0.1")


def test_a_law_is_shown_beside_medians_and_the_fitted_exponent(records):
    (zipf,) = (law for law in laws(records) if law["name"] == "zipf")
    assert [rung["predicted"] for rung in zipf["rungs"]] == [15, 178]
    for spec in SPECS:
        own = [r for r in records if r.scenario == "zipf" and r.optimizer == spec]
        medians = [sorted(t["evaluations_to_target"] for t in r.trials)[1] for r in own]
        assert zipf["measured"][spec] == [str(m) for m in medians]
    assert zipf["fitted"]["adam:lr=0.1"].value == pytest.approx(0, abs=0.05)
    (row,) = (row for row in rows(laws(records)) if row[0].startswith("zipf"))
    assert row[1] == "d = 100: 15; d = 2000: 178"
    assert "law 0.82" in row[3]


def test_a_threshold_is_shown_without_measurements(records):
    (noise,) = (law for law in laws(records) if law["name"] == "heavy-tails")
    assert (noise["measured"], noise["fitted"]) == ({}, {})
    assert rows([noise])[0][1:] == ["nu = 5: 2", "-", "-"]


def test_the_profile_names_what_is_solved_of_each_mechanism(records):
    found = profile(records)
    assert found["families"] == ["noise", "heterogeneity"]
    for spec in SPECS:
        noise, words = found["results"][spec]
        own = {r.case: 2 * r.solved > r.seeds for r in records if r.optimizer == spec}
        assert noise["solved"] == [c for c in ("heavytails-nu5",) if own[c]]
        assert sorted(words["solved"] + words["unsolved"]) == ["zipf-d100", "zipf-d2000"]
        assert all(own[case] for case in words["solved"])


def test_every_scenario_beyond_the_paper_has_a_law_with_a_source():
    built = [case.build() for preset in PRESETS for case in cases([suites()], preset)]
    with_law = {each.name: each.law() for each in built if each.law() is not None}
    assert set(with_law) == LAWS
    for law in with_law.values():
        assert law.source.startswith("arXiv:")
        assert law.axis == "" or law.axis in asdict(next(b for b in built if b.law() == law))
