"""Division of a stack's rows into blocks, and the input tensors of a block's pass."""

import functools
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, repeat
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gradbench.scenarios.base import Batch
from gradbench.training.stack.parameters import LANES
from gradbench.training.state import TrialState

BLOCK_BYTES = 2**21
"""Target bytes of a block's largest activation: larger ones miss the CPU's caches."""

Given = tuple[Tensor, Tensor, Tensor]
"""A block's inputs, labels, and each loss's weight."""


class Padded(NamedTuple):
    """A batch of one seed, repeated up to a multiple of `LANES` examples."""

    inputs: Tensor
    labels: Tensor
    size: int
    """The number of examples that count: the first ones."""


def padded(whole: Batch, size: int) -> Iterator[Padded]:
    """Yield examples in batches of `size`, a last one of fewer where some are left.

    Several batches, of about `BLOCK_BYTES` together, are padded at once.
    """
    example = sum(part[:1].nbytes for part in whole)
    at_once = size * max(1, BLOCK_BYTES // (example * _whole_lanes(size)))
    rest = len(whole[0]) % size
    end = len(whole[0]) - rest
    for start in range(0, end, at_once):
        yield from _padded(whole, slice(start, min(start + at_once, end)), size)
    if rest:
        yield from _padded(whole, slice(end, None), rest)


def _padded(whole: Batch, part: slice, size: int) -> Iterator[Padded]:
    """Yield a part of the examples, which are whole batches."""
    inputs, labels = (_filled(each[part].unflatten(0, (-1, size))).unbind() for each in whole)
    return map(Padded, inputs, labels, repeat(size))


def given(chosen: Sequence[Padded], like: Tensor) -> Given:
    """Return a block's inputs, labels and loss weights, from a padded batch for each of its rows.

    Examples that were added have weight 0. Weights have the dtype and device of `like`. Rows may
    share memory, so none of the tensors may be written to.
    """
    inputs = _side_by_side([batch.inputs for batch in chosen])
    labels = _side_by_side([batch.labels for batch in chosen])
    return inputs, labels, weights(*labels.shape[:2], chosen[0].size, like.dtype, like.device)


def _side_by_side(each: Sequence[Tensor]) -> Tensor:
    """Stack tensors; if all are the same object, return an expanded view of it."""
    if all(tensor is each[0] for tensor in each):
        return each[0].expand(len(each), *each[0].shape)
    return torch.stack(list(each))


@functools.lru_cache(maxsize=16)
def weights(rows: int, n: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the loss weights, shape `(rows * n,)`: 1 / size, and 0 for padding."""
    weights = torch.full((rows, n), 1 / size, dtype=dtype, device=device)
    weights[:, size:] = 0.0
    return weights.flatten()


def _filled(batches: Tensor) -> Tensor:
    """Pad each batch's examples, dimension 1, to a multiple of `LANES` by repeating them."""
    size = batches.shape[1]
    wanted = _whole_lanes(size)
    if wanted == size:
        return batches
    return torch.cat([batches] * -(-wanted // size), dim=1)[:, :wanted].contiguous()


def _whole_lanes(size: int) -> int:
    """Return the least multiple of `LANES` that is not below `size`."""
    return size + -size % LANES


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
