"""report.html: written beside its script, escaped, in one folder; without the extra, a hint."""

import json
import re
import sys
from dataclasses import asdict

import pytest

from gradbench.cli import main
from gradbench.report import html
from gradbench.report.explained import PAPER
from gradbench.results.record import to_json

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def saved(tmp_path, about):
    """Write a run's files: its folder's name, its records, what run.json says otherwise."""

    def write(name, records, **changes):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "run.json").write_text(to_json(about | changes))
        (folder / "records.jsonl").write_text("".join(to_json(asdict(r)) + "\n" for r in records))
        return folder

    return write


def damage(folder, line):
    with (folder / "records.jsonl").open("a") as file:
        file.write(line + "\n")


def embedded(page):
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])


def test_report_writes_the_page_and_its_script(saved, record, capsys):
    folder = saved("run", [record("one"), record("two", times=(None,) * 5)])
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert (folder / "plotly.min.js").stat().st_size > 10**6
    assert {case["id"] for case in embedded(page)["cases"]} == {"one", "two"}
    assert "Quick preset, 5 seeds, sweep of 5 rates" in page
    assert capsys.readouterr().out.splitlines() == [
        str(folder / "report.md"),
        str(folder / "report.html"),
    ]


def test_whatever_came_from_a_record_is_escaped(saved, record):
    hostile = record(EVIL, optimizer=EVIL, notes=[EVIL], family=EVIL, setting={EVIL: EVIL})
    hostile.outcome, hostile.expectation = "news", "never"
    folder = saved("run", [hostile], preset=EVIL, commit=EVIL, optimizers=[EVIL])
    damage(folder, EVIL)
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert "<script>alert" not in page
    assert "<img" not in page
    assert embedded(page)["cases"][0]["id"] == EVIL


def test_nothing_is_loaded_from_elsewhere(about, record):
    page = html.page([about], [record()])
    assert re.findall(r'(?:src|href)="([^"]+)"', page) == ["#matrix"]
    rest = page.replace("http-equiv", "").replace(PAPER, "")  # a link, which loads nothing
    assert "http" not in rest


def test_a_damaged_line_is_named_and_the_rest_is_there(saved, record, capsys):
    folder = saved("run", [record("one")])
    damage(folder, "{broken")
    assert main(["report", str(folder)]) == 0
    assert "line 2: skipped" in capsys.readouterr().err
    assert "line 2: skipped" in (folder / "report.html").read_text()


def test_several_runs_become_one_report(tmp_path, saved, record, capsys):
    learner = record("alone", optimizer="none", expectation="learner")
    first = saved("first", [record("one"), record("one", optimizer="b"), learner])
    second = saved("second", [record("one"), record("one", optimizer="c"), learner])
    out = tmp_path / "both"
    assert main(["report", str(first), str(second), "--output", str(out)]) == 0
    seen = embedded((out / "report.html").read_text())
    names = [optimizer["name"] for optimizer in seen["optimizers"]]
    assert names == ["a (first)", "b", "a (second)", "c"]
    assert (out / "report.md").read_text().count("Quick preset") == 2
    assert (out / "report.md").read_text().count("| alone") == 1
    other = saved("paper", [record("one")], preset="paper")
    assert main(["report", str(first), str(other), "--output", str(out)]) == 4
    assert "one report needs one preset" in capsys.readouterr().err


def test_open_shows_the_page(saved, record, monkeypatch):
    seen = []
    monkeypatch.setattr("webbrowser.open", seen.append)
    folder = saved("run", [record()])
    assert main(["report", str(folder), "--open"]) == 0
    assert seen == [(folder / "report.html").resolve().as_uri()]


def test_without_the_extra_the_rest_comes_and_one_line_says_how(saved, record, monkeypatch, capsys):
    monkeypatch.setattr(html, "available", lambda: False)
    folder = saved("run", [record()])
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(folder / "report.md"), html.HINT]
    assert not (folder / "report.html").exists()


def test_a_plotly_that_cannot_be_imported_takes_no_report_along(
    saved, record, monkeypatch, tmp_path, capsys
):
    (tmp_path / "broken" / "plotly").mkdir(parents=True)
    (tmp_path / "broken" / "plotly" / "__init__.py").write_text("1 / 0")
    for name in [name for name in sys.modules if name.split(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path / "broken")
    folder = saved("run", [record()])
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(folder / "report.md"), html.HINT]
    with pytest.raises(FileNotFoundError, match="pip install"):
        html.write(folder, [], [])


@pytest.mark.parametrize("said", [{}, {"device": 3, "versions": [1], "optimizers": 5}])
def test_a_run_json_that_says_little_is_no_error(saved, record, said):
    folder = saved("run", [record()])
    (folder / "run.json").write_text(json.dumps(said))
    assert main(["report", str(folder)]) == 0
    assert "? preset" in (folder / "report.md").read_text()


@pytest.mark.proof
def test_the_sessions_own_page_is_the_one_written_again(pytester):
    """A suite of one case, by an optimizer that evaluates forward only."""
    from gradbench.protocol.discovery import suites

    result = pytester.runpytest_subprocess(
        str(suites() / "test_parity.py"), "-k", "d5", "--optimizer=es:lr=0.1", "--gb-seeds=2"
    )
    assert result.ret in (0, 1)
    folder = (pytester.path / "reports" / "latest").resolve()
    first = (folder / "report.html").read_text()
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").read_text() == first
    (case,) = embedded(first)["cases"]
    (found,) = case["results"].values()
    assert found["band"]["x"][-1] >= 100  # of forward evaluations
    assert found["each"] > 0


def test_what_was_said_against_a_baseline_is_kept(saved, record):
    folder = saved("run", [record()])
    (folder / "held.json").write_text('["a: flatness regressed <b>"]')
    assert main(["report", str(folder)]) == 0
    assert "regressed" in (folder / "report.md").read_text()
    assert "a: flatness regressed &lt;b&gt;" in (folder / "report.html").read_text()


def test_the_script_is_written_again_where_it_is_not_whole(saved, record):
    folder = saved("run", [record()])
    (folder / "plotly.min.js").write_text("x")
    assert main(["report", str(folder)]) == 0
    assert (folder / "plotly.min.js").stat().st_size > 10**6


def test_runs_of_one_name_are_told_apart_and_one_run_is_not_two(tmp_path, saved, record, capsys):
    for parent in ("before", "after"):
        (tmp_path / parent).mkdir()
        saved(f"{parent}/run", [record("one")])
    runs = [str(tmp_path / parent / "run") for parent in ("before", "after")]
    out = tmp_path / "out"
    assert main(["report", *runs, "--output", str(out)]) == 0
    (case,) = embedded((out / "report.html").read_text())["cases"]
    assert list(case["results"]) == ["a (before/run)", "a (after/run)"]
    assert main(["report", runs[0], runs[0], "--output", str(out)]) == 4
    other = saved("other", [record("one", budget=5000)])
    assert main(["report", runs[0], str(other), "--output", str(out)]) == 4
    said = capsys.readouterr().err.splitlines()
    assert "a run is named twice" in said[0]
    assert "budget of one differs" in said[1]


ODD = {
    "timing": [{"seconds_per_step": 3}, {"clock": ["a"]}, {"peak_memory_bytes": "1"}],
    "tuning": [[{}], [3], [{"lr": None, "seed": -1, "score": 0.1, "status": "solved"}]],
    "informativeness": [[{}], [3], [{"probe": "p", "evaluations": None}]],
    "setting": [{"n": None}, {"n": "x"}, {"n": [1]}],
    "hyperparameters": [{"lr": {}}],
    "solved": [9],
    "notes": [[3]],
    "trials": [
        [{"seed": 0, "status": "solved", "evaluations_to_target": 3} | changes]
        for changes in ({"curve": 5}, {"curve": [[10**400, 1]]}, {"gradient_evaluations": 10**400})
    ],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in ODD.items() for v in values])
def test_an_odd_record_is_a_damaged_line_in_every_command(saved, record, capsys, name, value):
    odd = asdict(record("odd", ladder=["n"], setting={"n": 1})) | {name: value}
    folder = saved("run", [record("one"), record("one", optimizer="b")])
    damage(folder, json.dumps(odd))
    commands = (
        ["report", str(folder)],
        ["compare", f"{folder}:a", f"{folder}:b"],
        ["history", str(folder.parent)],
        ["figures", f"{folder}:a", f"--output={folder}"],
    )
    for command in commands:
        assert main(command) == 0
        assert "line 3: skipped, not a record" in capsys.readouterr().err


def test_a_run_without_records_is_one_line(saved, capsys):
    folder = saved("run", [])
    for command in ("compare", "figures", "history", "report"):
        where = [str(folder)] * (2 if command == "compare" else 1)
        assert main([command, *(where if command != "history" else [str(folder.parent)])]) == 4
        (line,) = capsys.readouterr().err.splitlines()
        assert "no records" in line or "no runs with records" in line


def test_a_loss_of_any_size_is_no_damage(saved, record, capsys):
    large = record("one")
    large.trials[0]["curve"] = [[0, -1e200, 1e300], [1, None, None]]
    large.tuning = [{"lr": 1e3, "seed": -1, "score": -1e200, "status": "diverged"}]
    assert main(["report", str(saved("run", [large]))]) == 0
    assert capsys.readouterr().err == ""
