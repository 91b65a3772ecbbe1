"""The checks of the contract, in the order in which they run.

Each is a check as in `checks/optimizer.py`: it takes a spec, returns its finding as text, raises
CheckError where a step is silently wrong, and NotCheckedError where the optimizer refuses.
"""

from collections.abc import Callable

from gradbench.checks.contract.calls import calls_hooks, evaluates_a_closure
from gradbench.checks.contract.memory import keeps_its_memory
from gradbench.checks.contract.parameters import (
    accepts_odd_parameters,
    adds_a_group_later,
    trains_complex_parameters,
    zeroes_gradients_both_ways,
)
from gradbench.checks.contract.same_steps import (
    depends_on_no_global_seed,
    depends_on_no_order,
    goes_on_after_deepcopy,
    goes_on_after_pickle,
    maximizes,
    steps_groups_as_several_optimizers,
    takes_its_rate_as_a_tensor,
)
from gradbench.checks.contract.state import (
    loads_its_state_into_another_type,
    loads_its_state_on_another_device,
)
from gradbench.checks.host_waits import waits_for_no_device

CONTRACT: tuple[Callable[[str], str], ...] = (
    steps_groups_as_several_optimizers,
    adds_a_group_later,
    accepts_odd_parameters,
    zeroes_gradients_both_ways,
    evaluates_a_closure,
    calls_hooks,
    loads_its_state_into_another_type,
    loads_its_state_on_another_device,
    takes_its_rate_as_a_tensor,
    goes_on_after_deepcopy,
    goes_on_after_pickle,
    maximizes,
    depends_on_no_global_seed,
    depends_on_no_order,
    trains_complex_parameters,
    keeps_its_memory,
    waits_for_no_device,
)
