"""What a block's pass is given: each row's batch, padded by itself with weight 0."""

import pytest
import torch

from gradbench.training.stack.blocks import given
from gradbench.training.stack.parameters import LANES


@pytest.mark.parametrize("n", [1, 3, LANES - 1, LANES, LANES + 2])
@pytest.mark.parametrize("shared", [False, True])
def test_a_batch_is_repeated_from_its_start_up_to_whole_lanes(n, shared):
    batches = [(torch.randn(n, 4), torch.randn(n)) for _ in range(3)]
    if shared:
        batches = [batches[0]] * 3
    inputs, labels, weights = given(batches, n, torch.zeros(1))
    size = -(-n // LANES) * LANES
    assert inputs.shape == (3, size, 4)
    assert labels.shape == (3, size)
    weights = weights.view(3, size)
    for row, (x, y) in enumerate(batches):
        for k in range(size):
            assert torch.equal(inputs[row, k], x[k % n])
            assert labels[row, k] == y[k % n]
        assert torch.equal(weights[row], torch.tensor([1 / n] * n + [0.0] * (size - n)))
