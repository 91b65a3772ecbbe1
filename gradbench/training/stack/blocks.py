"""Division of a stack's rows into blocks, and the input tensors of a block's pass."""

import functools
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch
from gradbench.training.stack.parameters import LANES
from gradbench.training.state import TrialState

BLOCK_BYTES = 2**21
"""Target bytes of a block's largest activation: larger ones miss the CPU's caches."""

Given = tuple[Tensor, Tensor, Tensor]
"""A block's inputs, labels, and each loss's weight."""


def given(chosen: Sequence[Batch], size: int, like: Tensor) -> Given:
    """Return a block's inputs, labels and loss weights, from a batch for each of its rows.

    Batches of `size` examples are padded to a multiple of `LANES` by repeating them; what is added
    has weight 0. Weights have the dtype and device of `like`. Rows may share memory, so none of the
    tensors may be written to.
    """
    inputs = _side_by_side([x for x, _ in chosen])
    labels = _side_by_side([y for _, y in chosen])
    return inputs, labels, weights(*labels.shape[:2], size, like.dtype, like.device)


def _side_by_side(each: Sequence[Tensor]) -> Tensor:
    """Stack tensors and pad them; if all are the same object, return an expanded view of it."""
    if all(tensor is each[0] for tensor in each):
        return _filled(each[0][None]).expand(len(each), -1, *each[0].shape[1:])
    return _filled(torch.stack(list(each)))


@functools.lru_cache(maxsize=16)
def weights(rows: int, n: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the loss weights, shape `(rows * n,)`: 1 / size, and 0 for padding."""
    weights = torch.full((rows, n), 1 / size, dtype=dtype, device=device)
    weights[:, size:] = 0.0
    return weights.flatten()


def _filled(rows: Tensor) -> Tensor:
    """Pad each row's examples, dimension 1, to a multiple of `LANES` by repeating them."""
    given = rows.shape[1]
    size = given + -given % LANES
    if size == given:
        return rows
    return torch.cat([rows] * -(-size // given), dim=1)[:, :size].contiguous()


def largest(state: TrialState) -> int:
    """Return the approximate bytes of the largest activation of one trial."""
    widths = [m.out_features for m in state.network.modules() if isinstance(m, nn.Linear)]
    width = max([state.held_out[0][0].numel(), *widths])
    size: int = state.parameters[0].element_size()
    return state.trial.batch * width * size


def to_rows(seeds: Sequence[int], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function from a tensor with an entry per distinct seed to one with a row per trial.

    Entries are in the order in which the seeds first occur. With one distinct seed it returns an
    expanded view.
    """
    different = list(dict.fromkeys(seeds))
    if len(different) == 1:
        return lambda tensor: tensor.expand(len(seeds), *tensor.shape[1:])
    index = torch.tensor([different.index(seed) for seed in seeds], device=device)
    return lambda tensor: tensor.index_select(0, index)


def blocks(rows: int, largest: int) -> list[slice]:
    """Divide rows into blocks of nearly equal size, by the bytes of a row's largest activation.

    No block has fewer than two rows, unless there is only one row.
    """
    at_most = max(2, BLOCK_BYTES // max(1, largest))
    count = max(1, min(-(-rows // at_most), rows // 2))
    edges = [rows * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]
