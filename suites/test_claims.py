"""The paper's claims, trained by its own optimizers: `pytest suites -m claim`.

The sizes are the paper's where one core needs minutes for them, else those of the standard preset:
20,000 iterations instead of 50,000 for parities, and the dense N1 for tuples of images. Each claim
has two seeds. Bounds lie between the measured values and values that would refute the claim. A
claim that does not reproduce is a strict xfail with its measured values.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gradbench.results.record import TrialResult
    from gradbench.scenarios.base import Scenario

pytestmark = pytest.mark.claim

SEEDS = (0, 1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread of a CPU, as cases do."""
    from gradbench.torch_state import one_thread

    with one_thread():
        yield


def trained(scenario: "Scenario", iterations: int, batch: int) -> "list[TrialResult]":
    """Return one result per seed, after all iterations with the published optimizer."""
    from gradbench.training.runner import run_trial
    from gradbench.training.trial import Trial

    results = [
        run_trial(
            Trial(
                scenario=scenario,
                optimizer=scenario.published,
                seed=seed,
                budget=iterations,
                batch=batch,
                target_score=float("inf"),
                preset="standard",
            )
        )
        for seed in SEEDS
    ]
    # the target is unreachable; a crashed or diverged trial would otherwise resemble chance
    assert [(result.status, result.reason) for result in results] == [("unsolved", None)] * 2
    return results


def scores(scenario: "Scenario", iterations: int, batch: int) -> list[float]:
    """Return one final score per seed, after training with the published optimizer."""
    return [result.final_score or 0.0 for result in trained(scenario, iterations, batch)]


@pytest.mark.parametrize("d", [5, 10])
def test_2_1_parities_of_few_bits_are_learned(d: int) -> None:
    """Measured: 1.0 on both seeds."""
    from gradbench.scenarios.parity import Parity

    assert min(scores(Parity(d=d, weight=d // 2), 20_000, 128)) > 0.95


def test_2_1_parities_of_30_bits_stay_at_chance() -> None:
    """Measured: within 0.02 of chance at every evaluation."""
    from gradbench.scenarios.parity import Parity

    for result in trained(Parity(d=30, weight=15), 20_000, 128):
        assert max(abs(score) for _, score, _ in result.curve) < 0.1


@pytest.mark.parametrize("d", [5, 10, 14])
def test_theorem_1_the_variance_over_parities_is_at_most_its_bound(d: int) -> None:
    """Measured, for all 2^d targets at an untrained network: 0.8 to 1.0 of G^2 / 2^d."""
    from gradbench.probes import parity_profile
    from gradbench.scenarios.draws import Draws
    from gradbench.scenarios.parity import Parity

    scenario = Parity(d=d, weight=d // 2)
    for seed in SEEDS:
        profile = parity_profile(scenario.network(Draws(seed)), scenario.loss, d)
        assert 0.5 * profile.bound < profile.variance <= profile.bound


def test_theorem_2_the_variance_over_waves_falls_exponentially_with_r() -> None:
    """Measured at d = 20: 1.3e-4, 3e-8, 4e-13 (not resolved on one seed) at r = 2, 4, 6."""
    from gradbench.probes import variance_over_targets
    from gradbench.scenarios.draws import Draws
    from gradbench.scenarios.periodic import Periodic

    for seed in SEEDS:
        values = []
        for r in (2.0, 4.0, 6.0):
            scenario = Periodic(d=20, r=r)
            network = scenario.network(Draws(seed))
            reading = variance_over_targets(scenario, network, examples=400_000, seed=seed)
            values.append(reading.value or 0.0)
        assert values[0] > 300 * values[1] > 300**2 * values[2] > 0


def test_figure_5_the_signal_falls_with_k_end_to_end_alone() -> None:
    """Measured: 9e-5, 2e-12, 2e-18, below 1e-22 at k = 1 to 4; decomposition 7e-5 to 1.1e-4."""
    from gradbench.probes import signal_to_noise
    from gradbench.scenarios.draws import Draws
    from gradbench.scenarios.line_tuples import LineTuples

    for seed in SEEDS:
        bounds: list[float] = []
        parts: list[float] = []
        for k in (1, 2, 3, 4):
            for approach, found in (("end-to-end", bounds), ("decomposition", parts)):
                scenario = LineTuples(approach=approach, k=k)
                network = scenario.network(Draws(seed))
                reading = signal_to_noise(scenario, network, examples=400_000, seed=seed)
                found.append((reading.resolved and reading.value) or reading.bound)
        first, second, third, fourth = bounds
        assert first > 1e3 * second > 1e5 * third > 1e7 * fourth
        assert third < 1e-14  # about the square of float32's resolution at 1
        assert all(1e-6 < value < 1e-3 for value in parts)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_3_1_decomposition_learns_tuples_of_any_k(k: int) -> None:
    """Measured: 0.98 to 1.06 on both seeds (1 is the ceiling's estimate)."""
    from gradbench.scenarios.line_tuples import LineTuples

    assert min(scores(LineTuples(approach="decomposition", k=k), 2_500, 200)) > 0.9


def test_3_1_end_to_end_stays_at_chance_from_k_3() -> None:
    """Measured: -0.02 and 0.03 on two seeds; the accuracy on single images is 0.51 and 0.50."""
    from gradbench.scenarios.line_tuples import LineTuples

    assert max(map(abs, scores(LineTuples(k=3), 20_000, 200))) < 0.15


@pytest.mark.parametrize("k", [1, 2])
def test_3_1_end_to_end_learns_tuples_of_small_k(k: int) -> None:
    """Measured: 1.00 to 1.03 on both seeds (k = 2 needs more than the standard preset's 2,000)."""
    from gradbench.scenarios.line_tuples import LineTuples

    assert min(scores(LineTuples(k=k), 20_000, 200)) > 0.9


@pytest.mark.parametrize("k", [10, 100, 1000])
def test_3_2_decomposition_nears_the_optimum_for_every_k(k: int) -> None:
    """Measured: 0.999 or more on both seeds."""
    from gradbench.scenarios.allocation import Allocation

    assert min(scores(Allocation(approach="decomposition", d=1000, k=k), 2_500, 100)) > 0.99


def test_3_2_end_to_end_ends_worse_the_larger_k_is() -> None:
    """Measured: 1.000, 0.993, 0.44 to 0.46 at k = 10, 100, 1000."""
    from gradbench.scenarios.allocation import Allocation

    few, some, many = (scores(Allocation(d=1000, k=k), 2_500, 100) for k in (10, 100, 1000))
    assert min(few) > max(some) > 0.95
    assert max(many) < 0.7


@pytest.mark.parametrize("data", ["text", "script"])
def test_4_1_1_the_linear_layer_misses_the_kinks(data: str) -> None:
    """Measured: scores of 0.004 on the text's data and 0.43 on the script's, where 1 is solved."""
    from gradbench.scenarios.curves import Curves

    assert max(scores(Curves(approach="linear", data=data, n=100), 50_000, 100)) < 0.6


@pytest.mark.parametrize(
    "data",
    [
        "script",
        pytest.param(
            "text",
            marks=pytest.mark.xfail(
                reason="0.58 of the way to the filter after 50,000 iterations on the text's data",
                strict=True,
            ),
        ),
    ],
)
def test_4_1_2_the_convolution_is_good_at_the_end(data: str) -> None:
    """Measured: 1.000 on the script's data, 0.58 on the text's, ten times worse conditioned."""
    from gradbench.scenarios.curves import Curves

    assert min(scores(Curves(approach="convolution", data=data, n=100), 50_000, 100)) > 0.95


@pytest.mark.parametrize("data", ["text", "script"])
def test_4_1_3_conditioning_is_near_exact_at_once(data: str) -> None:
    """Measured: 0.996 or more after 500 iterations of batch 10."""
    from gradbench.scenarios.curves import Curves

    assert min(scores(Curves(approach="conditioned", data=data, n=100), 500, 10)) > 0.98


def test_4_1_4_the_auto_encoder_misses_the_details() -> None:
    """Measured: 0.9995 of the energy explained, -18 for the bends, after 10,000 iterations."""
    from gradbench.checks.case import parts
    from gradbench.scenarios.curves import Curves

    scenario = Curves(approach="autoencoder", data="real", n=100)
    for result in trained(scenario, 10_000, 100):
        target, examples = parts(scenario, "standard", result.seed)
        nothing = scenario.evaluate(scenario.trivial(target), examples)[1]
        assert 1 - result.curve[-1][2] / nothing > 0.99  # share of the curves' energy
        assert (result.final_score or 0.0) < 0  # worse second differences than a straight line


def test_5_the_direct_gradient_is_zero() -> None:
    """Measured: no parameter changes."""
    from gradbench.scenarios.steps import Steps

    for result in trained(Steps(approach="direct", n=100), 500, 256):
        assert result.notes == ["parameters did not move"]


def test_5_2_the_non_flat_approximation_hangs_on_its_start() -> None:
    """Measured: 0.83 and 0.84 from the true bias; from a bias 2 above it, a constant -0.9."""
    from gradbench.scenarios.steps import Steps

    assert min(scores(Steps(approach="non-flat", n=100), 10_000, 256)) > 0.7
    for result in trained(Steps(approach="non-flat", n=100, start=2.0), 10_000, 256):
        assert (result.final_score or 0.0) < 0


@pytest.mark.parametrize("approach", ["end-to-end", "multi-class"])
def test_5_3_and_5_4_networks_blur_the_steps(approach: str) -> None:
    """Measured: 4 to 7 % (end-to-end) and 0.6 to 1 % (multi-class) of the levels are wrong.

    The wrong examples' median distance from a step is 1/5 to 1/90 of that of all examples.
    """
    import torch

    from gradbench.checks.case import parts
    from gradbench.scenarios.components.staircase import LEVELS
    from gradbench.scenarios.draws import Draws
    from gradbench.scenarios.steps import Steps

    kept: list[torch.nn.Module] = []

    class Kept(Steps):
        def network(self, draws: Draws) -> torch.nn.Module:
            kept.append(super().network(draws))
            return kept[-1]

    scenario = Kept(approach=approach, n=100)
    for result, network in zip(trained(scenario, 10_000, 256), kept, strict=True):
        target, (inputs, labels) = parts(scenario, "standard", result.seed)
        with torch.no_grad():
            wrong = scenario.score(network(inputs), labels) == 0
        distance = (inputs @ target["weights"])[:, None] - torch.tensor(LEVELS)
        nearest = distance.abs().min(dim=1).values
        assert 0 < wrong.float().mean() < 0.15
        assert nearest[wrong].median() < nearest.median() / 3


def test_5_5_forward_only_finds_the_steps() -> None:
    """Measured: 0.979 and 0.992 after 5,000 iterations."""
    from gradbench.scenarios.steps import Steps

    assert min(scores(Steps(approach="forward-only", n=100), 5_000, 256)) > 0.9
