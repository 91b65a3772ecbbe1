"""Experiment trackers: what their own readers find in the files is what the run's records hold."""

import json
import math
from pathlib import Path

import pytest

from gradbench.cli import main
from gradbench.results import trackers
from gradbench.results.runs import load


@pytest.fixture
def written(real_run, tmp_path):
    """Write a real run for a tracker; return the folder, the run and its records by optimizer."""

    def write(tracker):
        pytest.importorskip({"mlflow": "sqlalchemy"}.get(tracker, tracker))
        folder = tmp_path / tracker
        assert main(["export", str(real_run), f"--to={tracker}", f"--output={folder}"]) == 0
        by_optimizer = {}
        for record in load(real_run).records:
            by_optimizer.setdefault(record.optimizer, []).append(record)
        return folder, by_optimizer

    return write


def expected(records):
    """Each number by name, and each curve's points, from the records by another path."""
    numbers, curves = {}, {}
    for record in records:
        numbers[f"{record.case}/solved"] = float(record.solved)
        for trial in record.trials:
            scored = [(point[0], point[1]) for point in trial["curve"] if point[1] is not None]
            if scored:
                curves[f"{record.case}/score-seed{trial['seed']}"] = scored
    return numbers, curves


def test_numbers_and_points_are_the_records(real_run):
    records = [r for r in load(real_run).records if r.optimizer.startswith("adam")]
    numbers, curves = expected(records)
    assert numbers.items() <= trackers.numbers(records).items()
    assert all(math.isfinite(value) for value in trackers.numbers(records).values())
    assert sum(map(len, curves.values())) == len(list(trackers.points(records)))


@pytest.mark.proof
def test_tensorboard_reads_it_back(written):
    folder, by_optimizer = written("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = sorted(path for path in Path(folder).iterdir() if path.is_dir())
    assert len(found) == len(by_optimizer)
    seen = EventAccumulator(str(next(p for p in found if p.name.startswith("adam"))))
    seen.Reload()
    (records,) = (own for name, own in by_optimizer.items() if name.startswith("adam"))
    numbers, curves = expected(records)
    for name, value in numbers.items():
        assert seen.Scalars(name)[0].value == value
    for name, points in curves.items():
        got = [(event.step, event.value) for event in seen.Scalars(name)]
        assert [step for step, _ in got] == [step for step, _ in points]
        assert [v for _, v in got] == pytest.approx([v for _, v in points], rel=1e-6)


@pytest.mark.filterwarnings("ignore")  # sqlalchemy's, of mlflow's use of it
@pytest.mark.proof
def test_mlflow_reads_it_back(written):
    folder, by_optimizer = written("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("gradbench").experiment_id
    runs = {run.data.tags["optimizer"]: run for run in client.search_runs([experiment])}
    assert set(runs) == set(by_optimizer)
    for optimizer, records in by_optimizer.items():
        numbers, curves = expected(records)
        run = runs[optimizer]
        assert run.info.status == "FINISHED"
        assert numbers.items() <= run.data.metrics.items()
        for name, points in curves.items():
            history = client.get_metric_history(run.info.run_id, name)
            assert sorted((m.step, m.value) for m in history) == sorted(points)


def leveldb_records(data, start=7, block=2**15):
    """Yield the records of a LevelDB log, as wandb writes it behind seven bytes of its own.

    Blocks of 32 KiB; a record is one part or several: checksum, length, type (1 whole, 2 first, 3
    middle, 4 last). Source: google/leveldb, doc/log_format.md.
    """
    at, parts = start, []
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if kind == 0:
            break
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in {1, 4}:
            yield b"".join(parts)
            parts = []


@pytest.mark.proof
def test_wandb_reads_it_back_and_sends_nothing(written):
    folder, by_optimizer = written("wandb")
    from wandb.proto import wandb_internal_pb2

    files = list(Path(folder).rglob("offline-run-*/*.wandb"))
    assert len(files) == len(by_optimizer)
    rows = {}
    for file in files:
        name = ""
        for data in leveldb_records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "run":
                name = record.run.display_name
            if record.WhichOneof("record_type") == "history":
                items = {
                    "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                    for item in record.history.item
                }
                rows.setdefault(name, []).append(items)
    assert set(rows) == {name for name, own in by_optimizer.items() if expected(own)[1]}
    for optimizer, steps in rows.items():
        for name, points in expected(by_optimizer[optimizer])[1].items():
            step = f"{name.partition('/')[0]}/evaluations"
            assert [(row[step], row[name]) for row in steps if name in row] == points


@pytest.mark.parametrize("tracker", trackers.TRACKERS)
def test_a_tracker_that_is_not_installed_is_one_line(
    real_run, tmp_path, tracker, capsys, monkeypatch
):
    import sys

    for name in ("wandb", "mlflow", "mlflow.entities", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["export", str(real_run), f"--to={tracker}", f"--output={tmp_path / 'x'}"]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"gradbench export: {tracker} is not installed (")
    assert line.endswith(f"pip install 'pytest-gradbench[{tracker}]'")
