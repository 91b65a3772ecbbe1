"""What a block's pass is given: each row's batch, padded by itself with weight 0."""

import pytest
import torch

from gradbench.training.stack import blocks
from gradbench.training.stack.blocks import given, padded
from gradbench.training.stack.parameters import LANES

STEPS = 5


@pytest.mark.parametrize("n", [1, 3, LANES - 1, LANES, LANES + 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("at_once", [1, 2, STEPS])
def test_a_batch_is_repeated_from_its_start_up_to_whole_lanes(n, shared, at_once, monkeypatch):
    size = -(-n // LANES) * LANES
    monkeypatch.setattr(blocks, "BLOCK_BYTES", at_once * size * 5 * 4)  # 5 numbers an example
    wholes = [(torch.randn(STEPS * n, 4), torch.randn(STEPS * n)) for _ in range(3)]
    drawn = [list(padded(whole, n)) for whole in wholes]
    assert [len(batches) for batches in drawn] == [STEPS] * 3
    rows = [0, 0, 0] if shared else [0, 1, 2]
    for step in range(STEPS):
        inputs, labels, weights = given([drawn[row][step] for row in rows], torch.zeros(1))
        assert inputs.shape == (3, size, 4)
        assert labels.shape == (3, size)
        weights = weights.view(3, size)
        for place, row in enumerate(rows):
            x, y = wholes[row]
            for k in range(size):
                assert torch.equal(inputs[place, k], x[step * n + k % n])
                assert labels[place, k] == y[step * n + k % n]
            assert torch.equal(weights[place], torch.tensor([1 / n] * n + [0.0] * (size - n)))


def test_examples_that_fill_no_batch_are_a_batch_of_their_own():
    x = torch.arange(7.0)
    first, last = padded((x, x), 4)
    assert (first.size, last.size) == (4, 3)
    assert torch.equal(last.labels, x[4:].repeat(LANES)[:LANES])
    _, _, weights = given([last, last], torch.zeros(1))
    assert torch.equal(weights.view(2, LANES)[1], torch.tensor([1 / 3] * 3 + [0.0] * (LANES - 3)))
