"""Random numbers that are a function of a key and a position: the same on every machine.

The random words are Philox4x64-10 (J. Salmon, M. Moraes, R. Dror, D. Shaw, SC 2011), a cipher of a
counter under a key; numpy guarantees its stream. All numbers are computed from them by operations
that IEEE 754 rounds exactly (+, -, *, /, square root, conversions), one at a time, so that no
processor, library or version can change a bit.
"""

import math
from typing import Self

import numpy as np
import torch
from torch import Tensor

PIECE = 2**16
"""Most normal numbers that are computed at once on a CPU, so that they fit a core's cache."""

ATANH = tuple(2 / (2 * k + 1) for k in range(5))
"""Coefficients of log m = 2 atanh s in powers s^(2k+1), with s = (m - 1) / (m + 1)."""

SINE = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(6))
COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(7))

ROOT_HALF = 0x3F3504F3
"""The bits of 2^(-1/2) in float32: mantissas range from there to 2^(1/2)."""

ODD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: its products with successive integers differ in most bits."""

CUT = 2.0
"""Largest absolute value of a truncated standard normal number."""


class Draws(torch.Generator):
    """A stream of random numbers, drawn in fields: one per call, more for `truncated_normal`.

    `key` is below 2^128. The first dimension of a field is the row (example): row i of the k-th
    field depends only on the key, k and `first + i`. So it does not depend on the number of rows
    drawn at once, and a stream with another `first` has the same rows, shifted.

    Numbers are on `device`. Floating-point ones are computed in float32 and converted to `dtype`
    (torch's default), so that a trial in float64 has the same problem.

    The class is also a seeded `torch.Generator`, for use as in
    `torch.randn(n, generator=draws, device=draws.device)`. Numbers drawn that way depend on torch's
    version, the device and the number drawn at once.
    """

    def __new__(
        cls,
        key: int,  # noqa: ARG004
        device: torch.device | str = "cpu",
        *_: object,
        **__: object,
    ) -> Self:
        """Create the underlying `torch.Generator` on the device."""
        return super().__new__(cls, device=device)  # type: ignore[call-arg]

    def __init__(
        self,
        key: int,
        device: torch.device | str = "cpu",  # noqa: ARG002
        first: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.manual_seed((key ^ first * ODD) % 2**63)
        self.key, self.first, self.fields = key, first, 0
        self.dtype = dtype or torch.get_default_dtype()
        self._philox = np.random.Philox(key=key)

    def words(self, *shape: int) -> Tensor:
        """Draw words of 32 random bits, as int32."""
        rows, each = shape[0], math.prod(shape[1:])
        block, skip = divmod(self.first * each, 8)
        count = skip + rows * each
        state = self._philox.state
        # the counter is raised before each block of four 64-bit words
        counter = ((self.fields << 128) + block - 1) % 2**256
        state["state"]["counter"] = np.array(
            [(counter >> 64 * i) % 2**64 for i in range(4)], dtype=np.uint64
        )
        state["buffer_pos"] = 4
        self._philox.state = state
        self.fields += 1
        raw = self._philox.random_raw(-(-count // 2)).astype("<u8", copy=False)
        found = torch.from_numpy(raw.view("<i4")[skip:count])
        if self.device.type != "cpu":  # copied while the host draws more
            found = found.pin_memory()
        return found.to(self.device, non_blocking=True).view(shape)

    def bits(self, *shape: int) -> Tensor:
        """Draw random bits, 0 or 1, as int32; each row uses one word per 32 bits."""
        each = math.prod(shape[1:])
        words = self.words(shape[0], -(-each // 32))
        place = torch.arange(each, device=self.device, dtype=torch.int32)
        if each > 32:
            words = words[:, torch.arange(each, device=self.device) // 32]
            place = place % 32
        return ((words >> place) & 1).view(shape)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw integers from 0 to `high` - 1 as int64, each with probability 1/high +- 2^-32.

        `high` is at most 2^31.
        """
        return (self.words(*shape).long() % 2**32 * high) >> 32

    def uniform(self, *shape: int) -> Tensor:
        """Draw uniform numbers on [0, 1), which are multiples of 2^-24."""
        whole = (self.words(*shape) >> 8) & 0xFFFFFF
        return (whole.to(torch.float32) * 2.0**-24).to(self.dtype)

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers, at most 6.66 in absolute value.

        Box and Muller's transform (1958) turns two words into two numbers, in float32, with errors
        of a few units in the last place.
        """
        rows, each = shape[0], math.prod(shape[1:])
        half = -(-each // 2)
        words = self.words(rows, 2, half)
        found = torch.empty(rows, 2, half, dtype=torch.float32, device=self.device)
        at_once = max(1, PIECE // max(1, 2 * half))
        step = at_once if self.device.type == "cpu" else max(1, rows)
        for start in range(0, rows, step):
            _pairs(words[start : start + step], found[start : start + step])
        found = found.flatten(1)[:, :each].reshape(shape)
        return found.to(self.dtype)

    def truncated_normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers, and draw again those above two in absolute value."""
        found = self.normal(*shape)
        while bool((beyond := found.abs() > CUT).any()):
            found = torch.where(beyond, self.normal(*shape), found)
        return found

    def permutation(self, n: int) -> Tensor:
        """Draw a permutation of 0 to n - 1, as int64: the order that sorts n random words."""
        return self.words(n).argsort(stable=True)


def _pairs(words: Tensor, out: Tensor) -> None:
    """Write normal numbers, computed from words, to `out`; both have shape `(rows, 2, half)`.

    The lower 31 bits of a first word give u on (0, 1], its sign bit gives the sign s. The second
    word, int32 too, gives an angle on [-pi/2, pi/2). The two numbers are s sqrt(-2 log u) times the
    cosine and the sine of the angle.
    """
    first, second = words[:, 0], words[:, 1]
    bits = (first & 0x7FFFFFFF).to(torch.float32).add_(0.5).view(torch.int32) - ROOT_HALF
    mantissa = ((bits & 0x7FFFFF) + ROOT_HALF).view(torch.float32)
    exponent = (bits >> 23).to(torch.float32).sub_(31.0)
    s = (mantissa - 1.0).div_(mantissa + 1.0)
    log = _polynomial(ATANH, s * s).mul_(s).add_(exponent.mul_(math.log(2)))
    radius = log.mul_(-2.0).clamp_(min=0.0).sqrt_().copysign_(first.view(torch.float32))
    angle = second.to(torch.float32).mul_(math.pi * 2.0**-32)
    square = angle * angle
    torch.mul(radius, _polynomial(COSINE, square), out=out[:, 0])
    torch.mul(radius, _polynomial(SINE, square).mul_(angle), out=out[:, 1])


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """Return sum_k c_k x^k by Horner's rule, rounded after each operation."""
    *lower, last = coefficients
    found = x * last
    for coefficient in lower[:0:-1]:
        found.add_(coefficient).mul_(x)
    return found.add_(lower[0])
