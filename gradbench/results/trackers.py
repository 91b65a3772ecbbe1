"""A run in an experiment tracker, through the tracker's own writer: a tracker's run per optimizer.

Each gets per case the seeds solved, the median evaluations to the target, the learning rate, and
the learning curve of each seed's score over gradient evaluations. Nothing is sent anywhere: the
files are written into a folder, from which each tracker's own program shows or sends them.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gradbench.results.outcome import censored_median
from gradbench.results.record import Record

TRACKERS = ("wandb", "tensorboard", "mlflow")

SETTINGS: tuple[str, ...] = ("preset", "seeds", "tuning", "protocol", "dtype", "cpu")
"""Fields of run.json that are kept."""

MLFLOW_NAMES = re.compile(r"[^\w\-. :/]")
"""Characters that the name of a metric of MLflow may not have."""

Numbers = dict[str, float]
Point = tuple[str, int, float]
"""A curve's name, gradient evaluations, and the score there."""


class TrackerError(ValueError):
    """A tracker that is not installed; the message is one line that says how to install it."""


def write(folder: Path, about: dict[str, Any], records: Sequence[Record], tracker: str) -> None:
    """Write a run's records into a folder, as the files of a tracker of `TRACKERS`.

    Raises TrackerError where the tracker's package is not installed.
    """
    writers = {"wandb": _to_wandb, "tensorboard": _to_tensorboard, "mlflow": _to_mlflow}
    by_optimizer: dict[str, list[Record]] = {}
    for record in records:
        by_optimizer.setdefault(record.optimizer, []).append(record)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {name: str(about[name]) for name in SETTINGS if name in about}
    try:
        for optimizer, own in by_optimizer.items():
            writers[tracker](folder, optimizer, settings, own)
    except ImportError as error:
        hint = f"pip install 'pytest-gradbench[{tracker}]'"
        raise TrackerError(f"{tracker} is not installed ({error}): {hint}") from None


def numbers(records: Sequence[Record]) -> Numbers:
    """Return each case's numbers by name, `case/what`; what has no value is left out."""
    found: Numbers = {}
    for record in records:
        times = [trial["evaluations_to_target"] for trial in record.trials]
        values = {
            "solved": record.solved,
            "seeds": record.seeds,
            "median_evaluations_to_target": censored_median(times) if times else None,
            "learning_rate": record.hyperparameters.get("lr"),
        }
        found |= {f"{record.case}/{k}": float(v) for k, v in values.items() if v is not None}
    return found


def points(records: Sequence[Record]) -> Iterator[Point]:
    """Yield the points of every seed's learning curve that have a score."""
    for record in records:
        for trial in record.trials:
            for spent, score, *_ in trial.get("curve") or []:
                if score is not None:
                    yield f"{record.case}/score-seed{trial['seed']}", spent, score


def _to_tensorboard(
    folder: Path, optimizer: str, settings: dict[str, str], records: Sequence[Record]
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    name = re.sub(r"[^A-Za-z0-9.=-]+", "-", optimizer).strip("-.")[:100]
    with SummaryWriter(str(folder / name)) as writer:
        writer.add_text("settings", "\n".join(f"    {k}: {v}" for k, v in settings.items()))
        writer.add_text("optimizer", f"    {optimizer}")
        for key, value in numbers(records).items():
            writer.add_scalar(key, value, 0)
        for key, spent, score in points(records):
            writer.add_scalar(key, score, spent)


def _to_wandb(
    folder: Path, optimizer: str, settings: dict[str, str], records: Sequence[Record]
) -> None:
    import wandb

    run = wandb.init(
        project="gradbench",
        name=optimizer,
        config=settings,
        dir=str(folder),
        mode="offline",
        settings=wandb.Settings(silent=True),
    )
    run.summary.update(numbers(records))
    for record in records:
        run.define_metric(f"{record.case}/score-*", step_metric=f"{record.case}/evaluations")
    for key, spent, score in points(records):
        case = key.partition("/")[0]
        run.log({key: score, f"{case}/evaluations": spent})
    run.finish()


def _to_mlflow(
    folder: Path, optimizer: str, settings: dict[str, str], records: Sequence[Record]
) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    client = MlflowClient(f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    known = client.get_experiment_by_name("gradbench")
    place = (folder / "artifacts").resolve().as_uri()
    experiment = known.experiment_id if known else client.create_experiment("gradbench", place)
    run = client.create_run(experiment, run_name=optimizer)
    params = [Param(name, value) for name, value in settings.items()]
    client.log_batch(run.info.run_id, params=params, tags=[RunTag("optimizer", optimizer)])
    now = run.info.start_time
    named = [(key, value, 0) for key, value in numbers(records).items()]
    named += [(key, score, spent) for key, spent, score in points(records)]
    metrics = [Metric(MLFLOW_NAMES.sub("-", key), value, now, at) for key, value, at in named]
    for begin in range(0, len(metrics), 1000):
        client.log_batch(run.info.run_id, metrics=metrics[begin : begin + 1000])
    client.set_terminated(run.info.run_id)
