"""A short trial of plain SGD that detects whether this process still trains as before."""

from gradbench.results.record import Status
from gradbench.scenarios.parity import Parity
from gradbench.training.runner import run_trial
from gradbench.training.trial import Trial

STEPS = 12

Fingerprint = tuple[str, str, bool]


def train_briefly() -> Fingerprint:
    """Run the trial; return its status or error, its exact curve, and whether its clock ran."""
    scenario = Parity(d=4, weight=2)
    trial = Trial(scenario=scenario, optimizer="sgd:lr=0.1", budget=STEPS, batch=8)
    result = run_trial(trial)
    status = result.status.value if result.status is not Status.CRASHED else str(result.reason)
    return status, repr(result.curve), (result.seconds is not None and result.seconds > 0)


def difference(before: Fingerprint, after: Fingerprint) -> str:
    """Return a short description of the first difference; empty where there is none."""
    if before[0] != after[0]:
        return f"a short training by SGD now ends as {after[0]}"
    if before[1] != after[1]:
        return "a short training by SGD comes to other numbers"
    return "" if before[2] == after[2] else "the clock"
