"""A digest of a case's target, initial weights and data, equal on every machine."""

import hashlib
from functools import cache

import torch
from torch import Tensor

from gradbench.scenarios.base import Scenario
from gradbench.training.random_streams import draws
from gradbench.training.trial import Trial

DIGITS = 16


@cache
def digest(scenario: Scenario, preset: str, batch: int, seed: int = 0) -> str:
    """Return 16 hexadecimal digits of a trial's target, initial weights and first batch.

    They are drawn on the CPU in float32, whatever the run's device and dtype: two runs with equal
    digests had the same problem.
    """
    trial = Trial(scenario=scenario, optimizer=None, seed=seed, preset=preset)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.random.fork_rng(devices=[]):
            target = scenario.draw_target(draws(trial, "target"))
            network = scenario.network(draws(trial, "initialisation"))
            examples = scenario.sample(target, batch, draws(trial, "data"))
    finally:
        torch.set_default_dtype(before)
    found = hashlib.sha256()
    for tensor in (*target.values(), *network.state_dict().values(), *examples):
        found.update(_bytes(tensor))
    return found.hexdigest()[:DIGITS]


def _bytes(tensor: Tensor) -> bytes:
    """Return a tensor's dtype, shape and little-endian values, equal on every machine."""
    shown = tensor.float() if tensor.dtype is torch.bfloat16 else tensor  # numpy has no bfloat16
    array = shown.detach().contiguous().numpy()
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return f"{tensor.dtype}{tuple(tensor.shape)}".encode() + array.tobytes()
