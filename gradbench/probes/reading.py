"""The result of a probe: a value, its error or interval, and whether it is resolved."""

import math
from dataclasses import dataclass
from typing import Any

import scipy
from torch import Tensor

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Reading:
    """Result of one probe: a value with its error.

    `value` is None where the quantity is not defined or not finite; `note` then gives the reason.
    `error` is one standard error, 0 for an exact value. `limits` are the 95 % interval where it is
    not value +- 1.96 errors. `resolved` is false without a value and where the interval holds 0 (1
    for a condition number); `bound` is then an upper bound of the quantity's size. `signed` is true
    for quantities that can be negative. `cost` is the number of examples for which gradients were
    computed, `path` the method ("vmap", "loop", "batches", ...).
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
        """The 95 % upper bound of the quantity's absolute value, valid for any estimate."""
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
        """Return the bound of an unresolved value; None if resolved, missing or without a bound."""
        if self.value is None or self.resolved or math.isinf(self.bound):
            return None
        return self.bound

    def plain(self, evaluations: int) -> dict[str, Any]:
        """Return this reading as an entry of a record's `informativeness`, in plain data."""
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

    It is multiplied by `student(n)`, so that value +- 1.96 errors is the 95 % interval at any n.
    """
    n = len(values)
    return student(n) * values.std().item() / math.sqrt(n)


def student(n: int) -> float:
    """Return the factor for a standard error from n values: Student's 97.5 % quantile over 1.96.

    Value +- 1.96 of the multiplied errors is then the 95 % interval.
    """
    return float(scipy.special.stdtrit(n - 1, 0.975)) / Z95


def nothing(probe: str, why: str) -> Reading:
    """Return a reading without a value, with the reason in its note."""
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
    """Return the reading of a quantity that cannot be negative.

    It has no value where `value` or `error` is not finite.
    """
    if not (math.isfinite(value) and math.isfinite(error)):
        return nothing(probe, "not finite")
    resolved = value > Z95 * error if limits is None else limits[0] > 0
    return Reading(probe, value, error, resolved, note, cost, path, limits)
