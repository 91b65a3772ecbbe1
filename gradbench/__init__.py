"""The failures of gradient-based deep learning, as graded cases for any optimizer.

The names below are loaded on first use, so that `import gradbench` does not import torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradbench.case import Case
    from gradbench.record import Expectation, Status, TrialResult
    from gradbench.runner import run, run_trial
    from gradbench.scenario import Scenario
    from gradbench.trial import Trial

__version__ = "0.1.0"
__all__ = ["Case", "Expectation", "Scenario", "Status", "Trial", "TrialResult", "run", "run_trial"]

_HOME = {
    "Case": "case",
    "Expectation": "record",
    "Status": "record",
    "TrialResult": "record",
    "run": "runner",
    "run_trial": "runner",
    "Scenario": "scenario",
    "Trial": "trial",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'gradbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"gradbench.{_HOME[name]}"), name)
