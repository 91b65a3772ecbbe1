"""How a stack's rows are cut into blocks, and what a block's pass is given."""

import functools
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch
from gradbench.training.stack.parameters import LANES
from gradbench.training.state import TrialState

BLOCK_BYTES = 2**21
"""Size of a block's largest activation, as far as whole trials allow: beyond it caches miss."""

Given = tuple[Tensor, Tensor, Tensor]
"""A block's inputs, labels, and each loss's weight."""


def filled(batch: Batch) -> Batch:
    """Return a batch with its first examples again behind it, up to whole lanes."""
    inputs, labels = batch
    return _filled(inputs), _filled(labels)


def given(chosen: Sequence[Batch], size: int, like: Tensor) -> Given:
    """Return what a block's pass works on, from a filled batch for each of its rows.

    Of each only the first `size` examples count. Weights are of the type of `like`. None of it may
    be written to.
    """
    inputs = _side_by_side([x for x, _ in chosen])
    labels = _side_by_side([y for _, y in chosen])
    return inputs, labels, weights(*labels.shape[:2], size, like.dtype, like.device)


def _side_by_side(each: Sequence[Tensor]) -> Tensor:
    """Stack tensors; where all rows are given the same one, it lies there once."""
    if all(tensor is each[0] for tensor in each):
        return each[0].expand(len(each), *each[0].shape)
    return torch.stack(list(each))


@functools.lru_cache(maxsize=16)
def weights(rows: int, n: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return each loss's weight: what only fills the lanes counts for nothing."""
    weights = torch.full((rows, n), 1 / size, dtype=dtype, device=device)
    weights[:, size:] = 0.0
    return weights.flatten()


def _filled(examples: Tensor) -> Tensor:
    more = -len(examples) % LANES
    while more:
        part = examples[:more]
        examples, more = torch.cat((examples, part)), more - len(part)
    return examples


def largest(state: TrialState) -> int:
    """Return about how many bytes the largest activation of one trial takes."""
    widths = [m.out_features for m in state.network.modules() if isinstance(m, nn.Linear)]
    width = max([state.held_out[0][0].numel(), *widths])
    size: int = state.parameters[0].element_size()
    return state.trial.batch * width * size


def to_rows(seeds: Sequence[int], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return what turns a tensor with a part per seed, in their order, into one with a row each.

    Where all rows have one seed, it lies there once.
    """
    different = list(dict.fromkeys(seeds))
    if len(different) == 1:
        return lambda tensor: tensor.expand(len(seeds), *tensor.shape[1:])
    index = torch.tensor([different.index(seed) for seed in seeds], device=device)
    return lambda tensor: tensor.index_select(0, index)


def blocks(rows: int, largest: int) -> list[slice]:
    """Cut rows into equal blocks, by the bytes of a row's largest activation.

    None has fewer than two rows.
    """
    at_most = max(2, BLOCK_BYTES // max(1, largest))
    count = max(1, min(-(-rows // at_most), rows // 2))
    edges = [rows * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]
