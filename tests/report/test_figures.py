"""The paper's figures: drawn where the run has their cases, with what the records hold."""

import sys
from dataclasses import asdict

import numpy as np
import pytest
from matplotlib import pyplot as plt

from gradbench.cli import main
from gradbench.report import figures
from gradbench.results.record import to_json


@pytest.fixture
def trained(record):
    """Make a record of a scenario whose five trials have a curve, and details."""

    def made(scenario, case="case", details=None, **changes):
        one = record(case, scenario=scenario, **changes)
        for seed, trial in enumerate(one.trials):
            trial["curve"] = [[0, 0.0, 1.0], [10, seed / 4, 0.5]]
            trial["details"] = details or {}
            trial["gradient_evaluations"] = 10
        return one

    return made


def test_a_line_is_the_median_as_accuracy_and_says_n(trained):
    easy = trained("parity", "easy", setting={"d": 5}, approach="gradient")
    hard = trained("parity", "hard", setting={"d": 30}, approach="gradient")
    figure = figures.by_difficulty([easy, hard], "parity", "accuracy")
    assert [axis.get_title() for axis in figure.axes] == ["d = 5", "d = 30"]
    (line,) = figure.axes[0].get_lines()
    assert list(line.get_ydata()) == [0.5, 0.75]
    assert line.get_label() == "gradient (n = 5)"
    plt.close(figure)


def test_curves_are_summed_twice_but_for_the_auto_encoder(trained):
    slopes = [[0.0, 1.0, 0.0, -2.0], [0.0, 0.0, 0.0, 0.0]]
    made = [
        trained("curves", details={"curve": slopes}, approach=approach, setting={"data": "text"})
        for approach in ("linear", "autoencoder")
    ]
    figure = figures.curves(made)
    drawn = [axis.get_lines()[0].get_ydata() for axis in figure.axes[:2]]
    assert list(drawn[0]) == [0, 1, 2, 1]  # W p: slope 1 from the second point, -1 from the last
    assert list(drawn[1]) == slopes[0]
    assert "(n = 5)" in figure.axes[2].get_legend().get_texts()[0].get_text()
    plt.close(figure)


def test_what_is_not_resolved_is_drawn_as_a_bound(trained):
    entry = {"probe": figures.SNR, "evaluations": 0, "value": 3.0, "interval": [2.0, 4.0]}
    bound = entry | {"resolved": False, "bound": 9.0, "value": -1.0}
    made = [
        trained("line-tuples", setting={"k": 1}, informativeness=[entry | {"resolved": True}]),
        trained("line-tuples", setting={"k": 2}, informativeness=[bound]),
    ]
    figure = figures.signal_to_noise(made)
    heights = [y for line in figure.axes[0].get_lines() for y in np.atleast_1d(line.get_ydata())]
    assert 3.0 in heights
    assert 9.0 in heights
    assert -1.0 not in heights
    plt.close(figure)


def test_a_step_that_was_never_a_number_is_left_out(trained):
    good = trained("steps", "good", details={"answers": [[0.0, 0.0], [1.0, 0.0]]})
    lost = trained("steps", "lost", details={"answers": [[0.0, None]]})
    figure = figures.steps([good, lost])
    assert [axis.get_title() for axis in figure.axes] == ["good: 5/5 (57-100 %)"]
    plt.close(figure)
    assert figures.steps([lost]) is None


@pytest.mark.parametrize("kind", ["pdf", "png", "svg"])
def test_the_command_draws_what_the_run_has(tmp_path, about, trained, capsys, kind):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(to_json(about))
    lines = to_json(asdict(trained("parity", setting={"d": 5}))) + "\n"
    (folder / "records.jsonl").write_text(lines)
    out = tmp_path / "out"
    assert main(["figures", str(folder), f"--format={kind}", f"--output={out}"]) == 0
    names = [f"figure1-parities.{kind}", f"profile.{kind}"]
    assert capsys.readouterr().out.splitlines() == [str(out / name) for name in names]
    assert all((out / name).stat().st_size > 1000 for name in names)


def test_without_matplotlib_one_line_says_so(tmp_path, about, trained, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "run.json").write_text(to_json(about))
    (tmp_path / "records.jsonl").write_text(to_json(asdict(trained("parity"))) + "\n")
    assert main(["figures", str(tmp_path)]) == 4
    said = capsys.readouterr().err
    assert said.startswith(f"gradbench figures: {figures.HINT} (import of matplotlib")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("scenario", "k", "ends"),
    [("allocation", 10, (0.1, 1.0)), ("line-tuples", 1, (0.5, 0.9488)), ("curves", 1, (0.0, 1.0))],
)
def test_axes_are_the_papers(trained, scenario, k, ends):
    assert figures.span(trained(scenario, setting={"k": k})) == pytest.approx(ends)


def test_a_tuples_best_accuracy_is_the_scenarios(trained):
    from gradbench.scenarios.line_tuples import LineTuples

    for k in (1, 2, 3, 4):
        _, best = figures.span(trained("line-tuples", setting={"k": k}))
        assert best == pytest.approx(LineTuples(k=k).ceiling, abs=1e-3)
