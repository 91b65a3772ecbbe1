"""Weights of few digits: what moves them, by single steps of the optimizer itself."""

import pytest
import torch

from gradbench.results import weights
from gradbench.scenarios.precision import KEPT, Precision, standstill
from gradbench.training.runner import run
from gradbench.training.trial import Trial


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize(("rate", "curvature"), [(0.01, 1.0), (0.3, 1.0), (0.01, 100.0)])
def test_a_step_moves_a_weight_from_the_stated_distance_on(kept, rate, curvature):
    """By bisection over steps of torch's SGD at weights between 1 and 2."""
    low, high = 0.0, 10.0 / (rate * curvature)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        weight = torch.nn.Parameter(torch.tensor([1.5], dtype=getattr(torch, kept)))
        weight.grad = torch.tensor([curvature * middle], dtype=weight.dtype)
        torch.optim.SGD([weight], lr=rate).step()
        low, high = (middle, high) if weight.item() == 1.5 else (low, middle)
    # the gradient itself is rounded, by up to one part in 2^8
    assert high == pytest.approx(standstill(kept, rate, curvature), rel=2**-8 + 1e-3)


def final(kept, rate):
    scenario = Precision(kept=kept)
    trial = Trial(
        scenario=scenario,
        optimizer="sgd",
        hyperparameters={"lr": rate},
        budget=500,
        batch=1,
        target_score=1.0,
    )
    return run([trial])[0].final_score


def test_gradient_descent_solves_it_in_float32_and_at_no_stable_rate_in_bfloat16():
    assert final("float32", 0.015) > 0.99
    scores = [final("bfloat16", rate) for rate in (0.003, 0.01, 0.015, 0.019)]
    assert max(scores) < 0.9
    assert min(scores) > 0.1  # its stiff half is solved


def test_the_start_is_representable_in_every_type():
    for kept in KEPT:
        (weights,) = Precision(kept=kept).network(None).parameters()
        assert weights.dtype == getattr(torch, kept)
        assert (weights == 1.25).all()


def test_solved_weights_of_bfloat16_are_kept_exactly_though_numpy_has_no_such_type(tmp_path):
    values = [torch.tensor([1.0078125, -3e38, 1e-30]).bfloat16(), torch.tensor([0.1])]
    path = tmp_path / "weights.npz"
    path.write_bytes(weights.to_file(weights.to_text(values)))
    for found, value in zip(weights.load(str(path)), values, strict=True):
        assert torch.equal(found, value.float())
