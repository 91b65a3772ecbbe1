"""Benchmarks of an optimizer's step alone, on parameters of real sizes: `-m step_cost`.

    pytest suites -m step_cost --optimizer=adam --optimizer=adam:fused=True

These are ordinary pytest-benchmark cases, so its options apply (`--benchmark-json=FILE`,
`--benchmark-compare`). Times do not make them pass or fail. A step that leaves a parameter
unchanged fails, since its time is then not that of a full step.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradbench.timing.cost_table import CostTable

ROUNDS, SECONDS = (3, 50), 2.0
"""Fewest and most timed steps, and their approximate total time in seconds."""


@pytest.mark.step_cost
@pytest.mark.parametrize("parameters", ["resnet", "gpt", "matrix", "many"])
def test_step_cost(
    parameters: str,
    optimizer_spec: str,
    benchmark: Any,  # noqa: ANN401
    cost_table: "CostTable",
) -> None:
    """Time an optimizer's steps one by one, each on fresh gradients, on one thread."""
    from gradbench.optimizers.factory import UnsupportedError
    from gradbench.timing.step_cost import SETS, StepCost, cost_fields
    from gradbench.torch_state import one_thread

    with one_thread():
        try:
            cost = StepCost(optimizer_spec, SETS[parameters](), cost_table.device)
        except UnsupportedError as error:
            pytest.skip(str(error))
        if cost.why_not:
            pytest.skip(cost.why_not)
        cost.refresh()
        cost.step()
        cost.refresh()
        once = cost.measure()  # the second step: the first creates the state
        rounds = int(min(max(SECONDS / once, ROUNDS[0]), ROUNDS[1]))
        benchmark.group = f"step: {parameters}"
        benchmark.pedantic(cost.step, setup=cost.refresh, rounds=rounds)
        assert cost.moved(), "a step left a parameter where it was"
        seconds = once if benchmark.stats is None else benchmark.stats.stats.median
        fields = cost_fields(cost, seconds)
    benchmark.extra_info.update(fields)
    cost_table.add(optimizer_spec, parameters, fields)
