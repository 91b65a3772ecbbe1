"""The failures of gradient-based deep learning, as graded cases for any optimizer.

The names below are loaded on first use, so that `import gradbench` does not import torch.
"""

from typing import TYPE_CHECKING

from gradbench._version import __version__

if TYPE_CHECKING:
    from gradbench.checks import optimizer as check
    from gradbench.checks.case import prove
    from gradbench.checks.optimizer import (
        parametrize_with_checks,
        parametrize_with_conformance,
        run_checks,
    )
    from gradbench.protocol.case import Case
    from gradbench.results.record import Expectation, Record, Status, TrialResult
    from gradbench.results.runs import load
    from gradbench.scenarios.base import Scenario
    from gradbench.scenarios.draws import Draws
    from gradbench.training.runner import run, run_trial
    from gradbench.training.trial import Trial

__all__ = [
    "Case",
    "Draws",
    "Expectation",
    "Record",
    "Scenario",
    "Status",
    "Trial",
    "TrialResult",
    "__version__",
    "check",
    "load",
    "parametrize_with_checks",
    "parametrize_with_conformance",
    "prove",
    "run",
    "run_checks",
    "run_trial",
]

_HOME = {
    "Case": "gradbench.protocol.case",
    "Draws": "gradbench.scenarios.draws",
    "Expectation": "gradbench.results.record",
    "Record": "gradbench.results.record",
    "Scenario": "gradbench.scenarios.base",
    "Status": "gradbench.results.record",
    "Trial": "gradbench.training.trial",
    "TrialResult": "gradbench.results.record",
    "load": "gradbench.results.runs",
    "parametrize_with_checks": "gradbench.checks.optimizer",
    "parametrize_with_conformance": "gradbench.checks.optimizer",
    "prove": "gradbench.checks.case",
    "run": "gradbench.training.runner",
    "run_checks": "gradbench.checks.optimizer",
    "run_trial": "gradbench.training.runner",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "check":  # the module with everything that `gradbench check` and `conform` do
        return import_module("gradbench.checks.optimizer")
    if name not in _HOME:
        raise AttributeError(f"module 'gradbench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
