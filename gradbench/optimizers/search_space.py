"""Search spaces that optimizer classes declare beyond the learning rate.

    class MyOptimizer(torch.optim.Optimizer):
        gradbench_space = {"lr": (1e-4, 1.0, "log"), "momentum": (0.5, 0.99)}

Such a class gets as many points as every other sweep. The first is the optimizer with its defaults.
The others are a scrambled Sobol sequence (Owen 1998) with a fixed seed; a smaller budget uses a
prefix of it.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

ATTRIBUTE = "gradbench_space"
SCALES = ("linear", "log", "int")


@dataclass(frozen=True)
class Axis:
    """One hyperparameter and the range that is searched."""

    name: str
    low: float
    high: float
    scale: str = "linear"

    def at(self, share: float) -> float | int:
        """Return the value at a share of the range, between 0 and 1, to six digits."""
        if self.scale == "log":
            value = self.low * (self.high / self.low) ** share
        else:
            value = self.low + (self.high - self.low) * share
        if self.scale == "int":
            whole: int = round(value)
            return whole
        return float(f"{value:.6g}")


def declared(cls: type) -> tuple[Axis, ...]:
    """Return the axes that a class declares, none where it declares nothing.

    Raises ValueError, with the valid form, where the declaration is invalid or lacks `lr`.
    """
    said = getattr(cls, ATTRIBUTE, {})
    try:
        axes = tuple(Axis(str(name), *bounds) for name, bounds in said.items())
        good = all(_good(axis) for axis in axes)
    except (TypeError, AttributeError):
        good = False
    if not good:
        raise ValueError(
            f"{ATTRIBUTE} of {cls.__name__} maps names to (low, high) or "
            '(low, high, "log" or "int"), '
            "low below high, above 0 for log"
        )
    if axes and "lr" not in {axis.name for axis in axes}:
        raise ValueError(f"{ATTRIBUTE} of {cls.__name__} has no lr")
    return axes


def _good(axis: Axis) -> bool:
    finite = math.isfinite(axis.low) and math.isfinite(axis.high)
    return (
        finite
        and axis.low < axis.high
        and axis.scale in SCALES
        and (axis.scale != "log" or axis.low > 0)
    )


def points(axes: tuple[Axis, ...], count: int) -> list[dict[str, Any]]:
    """Return a number of points; the first is empty: the optimizer's defaults."""
    from scipy.stats.qmc import Sobol  # a second and more, for the few that declare a space

    with warnings.catch_warnings():  # that the count is no power of two: intended here
        warnings.simplefilter("ignore")
        shares = Sobol(len(axes), scramble=True, seed=0).random(max(0, count - 1))
    found = [{axis.name: axis.at(s) for axis, s in zip(axes, row, strict=True)} for row in shares]
    return [{}, *found][:count]
