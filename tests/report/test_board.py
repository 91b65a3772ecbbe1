"""The board: real runs, two hundred entries, names that are markup, links that lead somewhere."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from gradbench.cli import main
from gradbench.report import board
from gradbench.results.runs import VERIFIED, Run, load

HOSTILE = "<img src=x onerror=alert(1)>/../.py:Évil" + "x" * 60  # alike in a readable file name


@pytest.fixture
def verified(real_run, tmp_path):
    """A real run that was verified."""
    folder = tmp_path / "run"
    shutil.copytree(real_run, folder)
    (folder / VERIFIED).write_text(json.dumps({"holds": True, "said": "3 of 9 trained again"}))
    return folder


def pages(site):
    return {path: path.read_text(encoding="utf-8") for path in Path(site).rglob("*.html")}


def test_every_optimizer_and_case_has_a_page_with_the_runs_numbers(verified, tmp_path, capsys):
    card = {"name": "first step", "value": "sign-like", "law": None, "tolerance": ""}
    run = load(verified)
    spec = run.optimizers[0]
    (verified / "fingerprint.json").write_text(json.dumps([{"spec": spec, "properties": [card]}]))
    assert main(["board", str(verified), f"--out={tmp_path / 'site'}"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "site" / "index.html")
    found = pages(tmp_path / "site")
    attempted = {r.case for r in run.records if r.expectation != "learner"}
    assert len(found) == 1 + len(run.optimizers) + len(attempted)
    index = found[tmp_path / "site" / "index.html"]
    solved = sum(r.solved for r in run.records if r.optimizer == spec)
    seeds = sum(r.seeds for r in run.records if r.optimizer == spec and r.outcome != "skipped")
    assert f"<td>{solved}/{seeds}</td>" in index
    assert "3 of 9 trained again" in index
    assert sum("sign-like" in text for text in found.values()) == 1
    for path, text in found.items():
        for target in re.findall(r'href="([^"]+)"', text):
            assert (path.parent / target).resolve() in {each.resolve() for each in found}
        assert not re.search(r'(?:src|href)="(?:https?:|//)', text)


def test_optimizers_that_pass_are_of_those_that_ran_the_case(record, about, tmp_path):
    """A must solved on three of five seeds has failed; who runs easy cases only is not first."""
    ours = [
        record("must", times=(10, 20, 30, None, None), expectation="must", outcome="failed"),
        record("easy", optimizer="a"),
    ]
    theirs = [record("easy", optimizer="b")]
    runs = [
        Run(tmp_path / name, about | {"optimizers": [name]}, records, [])
        for name, records in (("b", theirs), ("a", ours))
    ]
    index = board.write(tmp_path / "site", runs)[0].read_text()
    assert "<td>must</td><td>0/1</td>" in index
    assert index.count("<td>2/2</td>") == 1
    names = re.findall(r'<a href="optimizers/[^"]+">(\w)</a>', index)
    assert names == ["a", "b"]


def test_a_run_that_is_not_verified_is_left_out_unless_asked_for(
    real_run, verified, tmp_path, capsys
):
    site = str(tmp_path / "site")
    assert main(["board", str(real_run), f"--out={site}"]) == 4
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"gradbench: {real_run}: left out, not verified: gradbench verify ")
    assert said[1] == "gradbench board: no run is verified; --unverified takes them as they are"
    assert main(["board", str(real_run), f"--out={site}", "--unverified"]) == 0
    assert "<td>no</td>" in (tmp_path / "site" / "index.html").read_text()
    (verified / VERIFIED).write_text(json.dumps({"holds": False, "said": "differs"}))
    assert main(["board", str(verified), f"--out={site}"]) == 4


@pytest.mark.proof
def test_two_hundred_entries_and_hostile_names_stay_text(verified, tmp_path):
    lines = []
    records = [asdict(r) for r in load(verified).records if r.expectation != "learner"]
    for number in range(200):
        name = f"{HOSTILE}:lr={number}" if number % 2 else f"adam:lr={number}"
        lines += [json.dumps(r | {"optimizer": name, "key": ""}) for r in records[:2]]
    (verified / "records.jsonl").write_text("\n".join(lines) + "\n")
    assert main(["board", str(verified), f"--out={tmp_path / 'site'}"]) == 0
    found = pages(tmp_path / "site")
    assert len([path for path in found if path.parent.name == "optimizers"]) == 200
    assert all("<img" not in text for text in found.values())
    assert all(path.resolve().is_relative_to(tmp_path / "site") for path in found)


@pytest.mark.browser
def test_it_is_searched_and_sorted_without_a_word(verified, tmp_path, browser):
    assert main(["board", str(verified), f"--out={tmp_path / 'site'}"]) == 0
    page, said = browser.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "site" / "index.html").resolve().as_uri())
    rows = page.locator("#cases tbody tr")
    total = rows.count()
    page.get_by_label("search cases").fill("D5")
    kept = page.locator("#cases tbody tr:visible").count()
    assert 0 < kept < total
    assert page.locator("[data-count=cases]").inner_text() == f"{kept} of {total}"
    page.get_by_label("search cases").fill("")
    head = page.locator("#cases thead button", has_text="case")
    head.first.focus()
    page.keyboard.press("Enter")
    names = page.locator("#cases tbody th").all_inner_texts()
    assert names == sorted(names, key=str.lower)
    page.locator("#cases tbody a").first.click()
    assert page.locator("h1").inner_text() == names[0]
    assert said == []
    page.close()
