"""Forms and options of an optimizer in which it must take the same steps."""

from dataclasses import replace

from gradbench.checks.conform.comparison import NothingComparedError
from gradbench.checks.conform.forms import NotHereError, against
from gradbench.checks.conform.gaps import gap
from gradbench.checks.conform.mistakes import options_of
from gradbench.checks.conform.number_type import STEPS
from gradbench.checks.conform.problems import problem_named
from gradbench.checks.conform.runs import Run, path
from gradbench.checks.contract.running import gap_of, path_of, refused_if_it_raises, way_of
from gradbench.checks.errors import CheckError, NotCheckedError
from gradbench.optimizers.factory import resolve
from gradbench.torch_state import seed_globals

BRIEF = ("matrices", "groups")
"""The problems on which an optimizer is compared with itself; `gradbench conform` uses all."""

FEW = 5
"""Steps in which rounding stays rounding, also where it grows."""


def _same(spec: str, form: str, said: str) -> str:
    """Check that an optimizer equals itself in another form."""
    try:
        found = against(spec, form, steps=STEPS, only=BRIEF)
    except (NotHereError, NothingComparedError) as error:
        raise NotCheckedError(str(error)) from None
    if found.same:
        return said
    first = found.first
    if first is not None and first.trouble:
        raise NotCheckedError(f"refused: {first.trouble.removeprefix('B alone raises ')}")
    why = f"; {found.diagnosis}" if found.diagnosis else ""
    raise CheckError(f"{first.problem if first else ''}: {first.said() if first else ''}{why}")


@refused_if_it_raises
def steps_groups_as_several_optimizers(spec: str) -> str:
    """Check that parameters in groups of their own take the steps that they take in one."""
    return _same(spec, "groups", "one group for each parameter is one group for all")


@refused_if_it_raises
def goes_on_after_deepcopy(spec: str) -> str:
    """Check that a deep copy of parameters and optimizer goes on as they would have."""
    return _same(spec, "deepcopy", "a deep copy takes the same steps")


@refused_if_it_raises
def goes_on_after_pickle(spec: str) -> str:
    """Check that unpickled parameters and optimizer go on as they would have."""
    return _same(spec, "pickle", "what was pickled takes the same steps")


@refused_if_it_raises
def takes_its_rate_as_a_tensor(spec: str) -> str:
    """Check that the learning rate may be a tensor."""
    return _same(spec, "tensor-lr", "the same steps")


@refused_if_it_raises
def maximizes(spec: str) -> str:
    """Check that `maximize` on the negative loss takes the steps of minimizing the loss."""
    factory = resolve(spec)
    if not isinstance(options_of(factory).get("maximize"), bool):
        raise NotCheckedError("it has no option maximize")
    plain = path_of(factory, "matrices", way_of(factory, {"maximize": False}))
    other = path_of(factory, "matrices", way_of(factory, {"maximize": True}))
    if found := gap_of(plain, other, factory):
        raise CheckError(
            f"on the negative loss its step {found.step} differs by {found.relative:.1e}"
        )
    return "on the negative loss, the same steps"


@refused_if_it_raises
def depends_on_no_global_seed(spec: str) -> str:
    """Check that the global seeds of torch, Python and numpy change no step."""
    factory = resolve(spec)
    one = path_of(factory, "matrices")

    def reseed(_: Run) -> None:
        seed_globals(12345)

    def leave(_: Run) -> None:
        """Change nothing, in a run that is not the one before."""

    if gap(one, path_of(factory, "matrices", way_of(factory, started=reseed)), 0.0):
        if gap(one, path_of(factory, "matrices", way_of(factory, started=leave)), 0.0):
            raise NotCheckedError("two runs differ under equal seeds, too")
        raise NotCheckedError("its steps depend on a global seed: it draws random numbers")
    return "two seeds, the same bits"


@refused_if_it_raises
def depends_on_no_order(spec: str) -> str:
    """Check that the order in which it is given parameters changes steps by rounding only."""
    depends_on_no_global_seed(spec)  # else there is nothing to see
    factory, problem = resolve(spec), problem_named("matrices")
    if factory.requirements.groups:  # the last matrix is not one of the hidden ones
        raise NotCheckedError("its groups are made by the order of the parameters")
    turned = replace(problem, make=lambda dtype: dict(reversed(problem.make(dtype).items())))
    one = path_of(factory, "matrices", steps=FEW)
    other = path(factory, turned, way_of(factory), FEW)
    if found := gap_of(one, other, factory):
        raise CheckError(
            f"given in the opposite order, its step {found.step} differs by {found.relative:.1e}"
        )
    return "given in the opposite order, the same steps"
