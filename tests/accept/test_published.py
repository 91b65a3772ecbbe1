"""Optimizers that others published, from the registry, by the specs that docs/optimizers.md has."""

import json

import pytest

pytestmark = pytest.mark.accept


def records(folder):
    lines = (folder / "latest" / "records.jsonl").read_text().splitlines()
    return {(one["case"], one["optimizer"]): one for one in map(json.loads, lines)}


def test_each_trains_and_solves_the_easiest_case(published):
    folder, specs = published.result()
    assert len(specs) >= 10
    found = records(folder / "tuned")
    assert len(found) == len(specs)
    assert {name for (_, name), one in found.items() if one["solved"] < 2} == set()


def test_each_trains_by_default_as_by_itself(published):
    folder, specs = published.result()
    together, alone = records(folder / "together"), records(folder / "alone")
    assert together.keys() == alone.keys()
    assert len(together) == len(specs)
    for key, one in together.items():
        for a, b in zip(one["trials"], alone[key]["trials"], strict=True):
            assert a["status"] == b["status"], key
            assert len(a["curve"]) == len(b["curve"]), key
            for look, other in zip(a["curve"], b["curve"], strict=True):
                assert look == pytest.approx(other, rel=1e-3, abs=1e-4), key
