"""A run as rows: each number is that of its record; what is written is read back."""

import csv
import json
import statistics
import sys

import pandas as pd
import pytest

import gradbench
from gradbench.cli import main
from gradbench.results import frames


def test_a_case_is_a_row_with_the_records_numbers(real_run, real_records):
    found = gradbench.load(real_run).frame()
    assert len(found) == len(real_records)
    for (_, row), record in zip(found.iterrows(), real_records_in_order(real_run), strict=True):
        assert (row["case"], row["optimizer"]) == (record["case"], record["optimizer"])
        assert (row["solved"], row["seeds"]) == (record["solved"], record["seeds"])
        times = [t["evaluations_to_target"] for t in record["trials"]]
        if None not in times:  # the lower median, by another path
            assert row["median_evaluations_to_target"] == statistics.median_low(times)
        for name, value in record["setting"].items():
            assert row[f"setting.{name}"] == value


def real_records_in_order(folder):
    return [
        {name: getattr(record, name) for name in ("case", "optimizer", "solved", "seeds")}
        | {"trials": record.trials, "setting": record.setting}
        for record in gradbench.load(folder).records
    ]


def test_a_trial_is_a_row_and_a_count_that_is_missing_is_no_number(real_run, real_records):
    found = gradbench.load(real_run).frame("trial")
    assert len(found) == sum(len(record["trials"]) for record in real_records)
    assert str(found["evaluations_to_target"].dtype) == "Int64"
    solved = found["status"] == "solved"
    assert found["evaluations_to_target"].notna().equals(solved)
    assert 0 < solved.sum() < len(found)


@pytest.mark.parametrize("level", frames.LEVELS)
def test_what_is_exported_is_read_back(real_run, tmp_path, level, capsys):
    want = gradbench.load(real_run).frame(level)
    file = tmp_path / "out.parquet"
    words = ["export", str(real_run), f"--level={level}", "--to=parquet", f"--output={file}"]
    assert main([*words, "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [str(file)]}
    pd.testing.assert_frame_equal(pd.read_parquet(file), want, check_dtype=False)
    text = tmp_path / "out.csv"
    assert main(["export", str(real_run), f"--level={level}", f"--output={text}"]) == 0
    with text.open(newline="") as opened:
        read = list(csv.DictReader(opened))
    plain = frames.rows(gradbench.load(real_run).records, level)
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in plain] == [
        {k: v for k, v in row.items() if k in own} for row, own in zip(read, plain, strict=True)
    ]


def test_mistakes_are_one_line(real_run, tmp_path, capsys, monkeypatch):
    with pytest.raises(ValueError, match="level 'seed': choose from case, trial"):
        gradbench.load(real_run).frame("seed")
    assert main(["export", str(tmp_path)]) == 4
    assert capsys.readouterr().err.startswith("gradbench export: ")
    monkeypatch.setitem(sys.modules, "pandas", None)
    file = tmp_path / "x.parquet"
    assert main(["export", str(real_run), "--to=parquet", f"--output={file}"]) == 4
    assert "pip install 'pytest-gradbench[frames]'" in capsys.readouterr().err
