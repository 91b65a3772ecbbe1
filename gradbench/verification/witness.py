"""A clean process that repeats a training and scores the result on new data.

It holds the network, the target and the data, and counts every evaluation; the optimizer's code
runs in another process, `gradbench.verification.guest`, which is given values and gradients only.
"""

import json
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradbench.optimizers.factory import UnsupportedError
from gradbench.optimizers.requirements import Requirements
from gradbench.protocol.item import Item, optimizer_of
from gradbench.results.record import Status, TrialResult
from gradbench.results.weights import load
from gradbench.training.loop import Step, Training
from gradbench.training.random_streams import draws, isolated
from gradbench.training.state import TrialState, end_by_error
from gradbench.training.trial import Trial
from gradbench.verification.guest import from_bytes
from gradbench.verification.news import Claim

PATIENCE = 120
"""Seconds that the optimizer's process may be silent."""


class Replayed(Training):
    """A trial whose optimizer runs in another process."""

    def __init__(
        self, trial: Trial, result: TrialResult, guest: Connection, known: dict[str, Any]
    ) -> None:
        self.guest, self.known = guest, known
        super().__init__(trial, result)

    def _prepare(self, **_: object) -> Step:
        """Build the optimizer in the other process, with the hyperparameters of its record."""
        trial = self.trial
        self._send(
            {
                "path": sys.path,
                "dtype": trial.dtype,
                "seed": trial.stream("optimizer"),
                "optimizer": trial.optimizer,
                "hyperparameters": self.known,
                "budget": trial.budget,
                "batch": trial.batch,
                "parameters": [(n, p.detach().cpu()) for n, p in self.network.named_parameters()],
            }
        )
        said = self._hear()
        requirements = said["needs"]
        self.requirements = Requirements(
            closure=requirements["closure"] is True, modes=requirements["modes"] is True
        )
        return self._ask_for_step

    def mode(self, name: str) -> None:
        """Announce the mode to the optimizer, and load its values for training or evaluation."""
        if self.requirements.modes and (self.spent > 0 or name == "train"):
            self._send(name)
            self._hear()
            self._take()

    def _ask_for_step(self, inputs: Tensor, labels: Tensor) -> None:
        result = self.result
        before = result.gradient_evaluations + result.forward_evaluations
        self._send("step")
        while (said := self._hear())["kind"] == "evaluate":
            self._take()
            self._send(self._evaluated(inputs, labels, gradients=said["gradients"] is True))
        self._take()
        called = result.gradient_evaluations + result.forward_evaluations - before
        self.spent += max(1, called)

    def _evaluated(
        self, inputs: Tensor, labels: Tensor, *, gradients: bool
    ) -> tuple[float, list[Tensor | None]]:
        """Return the loss on a batch, and its gradients if requested."""
        with torch.set_grad_enabled(gradients):
            loss = self.scenario.loss(self.network(inputs), labels).mean()
        if not gradients:
            self.result.forward_evaluations += 1
            return loss.item(), []
        self.network.zero_grad()
        loss.backward()
        self.result.gradient_evaluations += 1
        grads = [None if p.grad is None else p.grad.cpu() for p in self.parameters]
        return loss.item(), grads

    def _send(self, what: object) -> None:
        self.guest.send_bytes(pickle.dumps(what))  # tensors whole, not as shared memory

    def _hear(self) -> dict[str, Any]:
        if not self.guest.poll(PATIENCE):
            raise TimeoutError(f"the optimizer's process was silent for {PATIENCE} s")
        said: dict[str, Any] = json.loads(self.guest.recv_bytes())
        if said["kind"] == "unfit":
            raise UnsupportedError(str(said["why"]))
        if said["kind"] == "raised":
            raise RuntimeError(str(said["why"]))
        return said

    def _take(self) -> None:
        """Load received values into the network."""
        values = from_bytes(self.guest.recv_bytes(), self.parameters)
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)


@contextmanager
def guest() -> Iterator[Connection]:
    """Start a process for an optimizer, and end it."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "gradbench.verification.guest", str(theirs.fileno())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(theirs.fileno(),),
    )
    theirs.close()
    connection = Connection(ours.detach())
    try:
        yield connection
    finally:
        connection.close()
        process.kill()
        process.wait()


def trial_of(item: Item, seed: int) -> Trial:
    """Return the item's trial with this seed."""
    scenario = item.case.build()
    return Trial(
        scenario=scenario,
        optimizer=optimizer_of(item, scenario),
        seed=seed,
        budget=item.case.budget,
        batch=item.case.batch,
        target_score=item.case.target_score,
        preset=item.preset,
        device=item.device,
        dtype=item.dtype,
        architecture=item.architecture,
    )


def replayed(claim: Claim, seed: int) -> dict[str, Any]:
    """Train a seed again, with gradients only; return its status, reason and evaluations."""
    trial = trial_of(claim.item, seed)
    result = TrialResult(seed, Status.UNSOLVED)
    with isolated(trial), guest() as connection:
        try:
            Replayed(trial, result, connection, claim.hyperparameters).run(None)
        except UnsupportedError as error:
            end_by_error(result, error)
        except (OSError, EOFError, ValueError, KeyError, RuntimeError) as error:
            result.fail(Status.CRASHED, str(error) or type(error).__name__)
    return {
        "seed": seed,
        "status": result.status.value,
        "reason": result.reason,
        "evaluations_to_target": result.evaluations_to_target,
        "gradient_evaluations": result.gradient_evaluations,
    }


def scored(claim: Claim, seed: int, file: str) -> float:
    """Return the score of final weights on held-out data that no trial has drawn."""
    trial = trial_of(claim.item, seed)
    with isolated(trial):
        training = TrialState(trial, TrialResult(seed, Status.UNSOLVED))
        target = training.scenario.draw_target(draws(trial, "target"))
        fresh = training.scenario.held_out(target, draws(trial, "verification"))
        with torch.no_grad():
            for parameter, value in zip(training.parameters, load(file), strict=True):
                parameter.copy_(value)
        training.network.eval()
        examples = tuple(part.to(training.device) for part in fresh)
        score, _ = training.scenario.evaluate(training.network, (examples[0], examples[1]))
    return score


def examine(claim: Claim) -> dict[str, Any]:
    """Return the scores of the final weights by seed, and the results of the repeated trainings."""
    return {
        "scores": {seed: scored(claim, seed, file) for seed, file in claim.weights.items()},
        "replays": [replayed(claim, seed) for seed in claim.again],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked: Claim = pickle.load(sys.stdin.buffer)  # noqa: S301  # from the run's own controller
    Path(sys.argv[1]).write_text(json.dumps(examine(asked)), encoding="utf-8")
