"""The result of a probe: a value, its error or interval, and whether it is resolved."""

import math
from dataclasses import dataclass
from typing import Any

import scipy
from torch import Tensor

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Reading:
    """One probe's answer.

    `error` is one standard error, 0 for an exact value. `resolved` is false where the 95 %
    interval holds 0: then `bound` is what can be said of the quantity's size. `signed` is true of
    what can be negative.
    `limits` are that interval where it is not value +- 1.96 errors.
    `cost` is the number of examples whose gradient was taken, `path` how ("vmap", "loop",
    "batches", ...); `value` is None where the question has no answer, and `note` says why.
    """

    probe: str
    value: float | None
    error: float = 0.0
    resolved: bool = True
    note: str = ""
    cost: int = 0
    path: str = ""
    limits: tuple[float, float] | None = None
    signed: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval; raises ValueError where there is no value."""
        if self.value is None:
            raise ValueError(f"{self.probe} has no value: {self.note}")
        if self.limits is not None:
            return self.limits
        return self.value - Z95 * self.error, self.value + Z95 * self.error

    @property
    def bound(self) -> float:
        """The 95 % upper bound of the size, whatever the estimate is."""
        low, high = self.interval
        return (
            max(-low, high)
            if self.signed
            else high - min(0.0, 0.0 if self.value is None else self.value)
        )

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        if self.resolved:
            return f"{self.value:.2g}"
        low, high = self.interval
        return f">{low:.2g}" if high == math.inf else f"<{self.bound:.2g}"

    def _known_bound(self) -> float | None:
        """Return the bound where that is what is known of the value."""
        if self.value is None or self.resolved or math.isinf(self.bound):
            return None
        return self.bound

    def plain(self, evaluations: int) -> dict[str, Any]:
        """Return the entry of a record's `informativeness`."""
        return {
            "probe": self.probe,
            "evaluations": evaluations,
            "value": self.value,
            "error": self.error,
            "interval": None if self.value is None else list(self.interval),
            "resolved": self.resolved,
            "bound": self._known_bound(),
            "note": self.note,
            "path": self.path,
        }


def mean_error(values: Tensor) -> float:
    """Return the standard error of the mean of `values`, shape `(n,)`.

    Widened by Student's quantile, so that value +- 1.96 errors is the usual interval at any n.
    """
    n = len(values)
    return student(n) * values.std().item() / math.sqrt(n)


def student(n: int) -> float:
    """Return what widens a standard error from n values, so that 1.96 of it are the interval."""
    return float(scipy.special.stdtrit(n - 1, 0.975)) / Z95


def nothing(probe: str, why: str) -> Reading:
    """Return the reading of a question that has no answer here."""
    return Reading(probe, None, resolved=False, note=why)


def positive(
    probe: str,
    value: float,
    error: float,
    limits: tuple[float, float] | None = None,
    *,
    note: str = "",
    cost: int = 0,
    path: str = "",
) -> Reading:
    """Return the reading of a quantity that cannot be negative."""
    if not (math.isfinite(value) and math.isfinite(error)):
        return nothing(probe, "not finite")
    resolved = value > Z95 * error if limits is None else limits[0] > 0
    return Reading(probe, value, error, resolved, note, cost, path, limits)
