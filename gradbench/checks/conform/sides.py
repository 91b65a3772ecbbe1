"""The two sides of a comparison, and what one problem showed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gradbench.checks.conform.gaps import Gap
from gradbench.checks.conform.problems import Problem
from gradbench.checks.conform.runs import Path, Way, path
from gradbench.optimizers.factory import Factory, UnsupportedError
from gradbench.optimizers.requirements import RefusedError
from gradbench.text import error_line


class Refused(str):
    """Why an optimizer does not support a problem, in one line."""

    __slots__ = ()


@dataclass(frozen=True)
class Side:
    """One of two optimizers, and the way in which it is run."""

    name: str
    factory: Factory
    way: Way = field(default_factory=Way)

    def path(self, problem: Problem, more: Mapping[str, Any], steps: int) -> Path | str:
        """Return its path with more options; what it raises as one line of text.

        The line is a `Refused` where the optimizer says that it does not support the problem.
        """
        way = replace(self.way, options={**self.way.options, **more})
        try:
            return path(self.factory, problem, way, steps)
        except (UnsupportedError, RefusedError) as error:
            return Refused(error_line(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever an optimizer raises
            return error_line(error)


@dataclass(frozen=True)
class Compared:
    """One problem with the options that both optimizers were given.

    `first` is the first difference, `trouble` what one or both of the optimizers raised.
    """

    problem: str
    options: Mapping[str, Any]
    first: Gap | None = None
    trouble: str = ""
    differs: bool = False

    def said(self) -> str:
        """Return the result in words."""
        if self.trouble:
            return self.trouble
        if self.first is None:
            return "same"
        where = f"step {self.first.step}, parameter {self.first.parameter}"
        return f"different from {where}: {self.first.relative:.1e} relative"
