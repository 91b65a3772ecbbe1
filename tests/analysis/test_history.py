"""Many runs in the order of time, on records whose changes are known."""

from dataclasses import asdict

import pytest

from gradbench.analysis.history import histories, runs
from gradbench.cli import main
from gradbench.report.history import page, text
from gradbench.results.record import to_json
from gradbench.results.runs import RunError

CASES = tuple(f"case{i}" for i in range(8))


@pytest.fixture
def save(tmp_path, about):
    """Write a run of a day: its records, and what run.json says otherwise."""

    def write(day, records, **changes):
        folder = tmp_path / f"run{day}"
        folder.mkdir()
        started = {"started": f"2026-01-{day:02}T00:00:00", "commit": f"c{day}", "dirty": False}
        (folder / "run.json").write_text(to_json(about | started | changes))
        lines = "".join(to_json(asdict(record)) + "\n" for record in records)
        (folder / "records.jsonl").write_text(lines)

    return write


def test_the_run_where_it_changed_is_found(save, record, tmp_path):
    slow = [record(c, times=(20, 40, 60, 80, 90)) for c in CASES[:6]]
    same = [record(c) for c in CASES[6:]]
    for day in (3, 1, 2):
        save(day, [record(c) for c in CASES])
    save(4, [*slow, *same])
    save(5, [*slow, *same])
    (history,) = histories(runs(tmp_path)[0])
    one = min(path for path in tmp_path.iterdir() if (path / "run.json").is_file())
    assert [run.path for run in runs(one)[0]] == [one]
    assert [step.commit for step in history.steps] == ["c1", "c2", "c3", "c4", "c5"]
    said = [step.verdict for step in history.steps]
    assert said == [
        "nothing to compare",
        "same numbers",
        "same numbers",
        "worse, changed in 6",
        "same numbers",
    ]
    assert history.steps[3].changed == CASES[:6]
    assert history.steps[3].ratio > 1
    assert history.changing == list(CASES[:6])
    shown = text([history])
    (row,) = [line for line in shown.splitlines() if line.startswith("case0")]
    assert row.split() == ["case0", *["5/5", "30"] * 3, "5/5", "60", "*", "5/5", "60"]
    assert "never seen with other numbers: 2 cases" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_a_change_that_five_seeds_cannot_judge_says_so(save, record, tmp_path):
    save(1, [record("one")])
    save(2, [record("one", times=(11, 20, 30, 40, 50))])
    (history,) = histories(runs(tmp_path)[0])
    assert history.steps[1].verdict == "changed in 1, not shown better or worse"


def test_other_settings_and_optimizers_are_other_histories(save, record, tmp_path):
    save(1, [record("one"), record("one", optimizer="b")])
    save(2, [record("one")], preset="standard")
    save(3, [record("one", budget=50)])  # the case itself was changed: no comparison
    found = histories(runs(tmp_path)[0])
    assert [(h.optimizer, h.settings["preset"], len(h.steps)) for h in found] == [
        ("a", "quick", 2),
        ("b", "quick", 1),
        ("a", "standard", 1),
    ]
    assert found[0].steps[1].verdict == "nothing to compare"


def test_what_is_no_run_is_left_out_and_nothing_at_all_is_an_error(save, record, tmp_path, capsys):
    save(1, [record("one")])
    (tmp_path / "notes").mkdir()
    (tmp_path / "latest").symlink_to("run1")
    (tmp_path / "run9").mkdir()
    (tmp_path / "run9" / "run.json").write_text("{}")
    (tmp_path / "run8").mkdir()
    (tmp_path / "run8" / "run.json").write_text("{")
    (tmp_path / "run8" / "records.jsonl").write_text("")
    found, unread = runs(tmp_path)
    assert len(found) == 1
    assert any("run8" in line for line in unread)
    with pytest.raises(RunError, match="there are no runs with records in"):
        runs(tmp_path / "notes")
    assert main(["history", str(tmp_path / "nowhere")]) == 4
    assert "there are no runs with records in" in capsys.readouterr().err


def test_the_page_shows_every_run_and_escapes(save, record, tmp_path, capsys):
    save(1, [record("<b>one")])
    save(2, [record("<b>one", times=(None,) * 5)])
    file = tmp_path / "history.html"
    assert main(["history", str(tmp_path), "--page", str(file)]) == 0
    assert str(file) in capsys.readouterr().out
    shown = file.read_text()
    assert "&lt;b&gt;one" in shown
    assert "<b>one" not in shown
    assert shown.count(chr(34) + "cell changed") == 1
    assert page(histories(runs(tmp_path)[0])) == shown


def test_better_and_worse_are_what_the_test_is_about(save, record, tmp_path):
    """One case of one family got much worse, ten of another better: pooled over cases, better."""
    names = [f"good{i}" for i in range(10)]
    before = [record(n, times=(100, 90, 80, 70, 60), family="flatness") for n in names]
    after = [record(n, times=(70, 63, 56, 49, 42), family="flatness") for n in names]
    save(1, [*before, record("bad", times=(10, 11, 12, 13, 14), family="conditioning")])
    save(2, [*after, record("bad", times=(30, 33, 36, 39, 42), family="conditioning")])
    (history,) = histories(runs(tmp_path)[0])
    assert history.steps[1].verdict == "better, changed in 11"
    assert history.steps[1].ratio < 1


def test_a_case_is_held_against_the_last_run_that_had_it(save, record, tmp_path):
    save(1, [record("x", times=(10, 20, 30, 40, 50))])
    save(2, [record("y")])
    save(3, [record("x", times=(20, 40, 60, 80, 90))])
    (history,) = histories(runs(tmp_path)[0])
    assert [step.verdict for step in history.steps[:2]] == ["nothing to compare"] * 2
    assert history.steps[2].changed == ("x",)
    save(4, [record("x")], dtype="float64")
    assert len(histories(runs(tmp_path)[0])) == 2
