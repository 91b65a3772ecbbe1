"""Random numbers that are a function of a key and a position: the same on every machine.

The words are Philox4x64-10 (J. Salmon, M. Moraes, R. Dror, D. Shaw, SC 2011), a cipher of a counter
under a key, whose stream numpy guarantees. Everything made of them uses operations that IEEE 754
rounds exactly (+, -, *, /, square root, conversions), each as an operation of its own, so that no
processor, library or version can change a bit.
"""

import math
from typing import Self

import numpy as np
import torch
from torch import Tensor

PIECE = 2**16
"""Normal numbers that are made at once: as many as stay in a core's cache."""

ATANH = tuple(2 / (2 * k + 1) for k in range(5))
"""log m = 2 atanh s = sum of these times s^(2k+1), s = (m - 1) / (m + 1)."""

SINE = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(6))
COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(7))

ROOT_HALF = 0x3F3504F3
"""The bits of 2^(-1/2) in float32: mantissas are taken from there up to 2^(1/2)."""

ODD = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: makes seeds of consecutive numbers differ in most bits."""

CUT = 2.0
"""Standard deviations at which a truncated normal is cut."""


class Draws(torch.Generator):
    """A stream of random numbers; each call draws a field of its own from it.

    `key` is below 2^128. The first dimension of what is drawn counts rows (examples): row i of the
    k-th call depends on the key, k and `first + i` alone. So a stream from another `first` on has
    the same rows, whatever was drawn before, and how many at once decides nothing.

    Numbers come on `device`, floating-point ones in `dtype` (torch's default) with the values that
    float32 has: a trial in float64 meets the same problem.

    It is a seeded `torch.Generator`, too (`torch.randn(n, generator=draws, device=draws.device)`):
    what is drawn so depends on torch's version, the device, and how many are drawn at once.
    """

    def __new__(
        cls,
        key: int,  # noqa: ARG004
        device: torch.device | str = "cpu",
        *_: object,
        **__: object,
    ) -> Self:
        """Make the generator that it is, too."""
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
        """Draw 32 random bits each, as int32."""
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
        if self.device.type != "cpu":  # copied while the host makes the next ones
            found = found.pin_memory()
        return found.to(self.device, non_blocking=True).view(shape)

    def bits(self, *shape: int) -> Tensor:
        """Draw 0 or 1, as int32; a row takes a word for each 32 of its bits."""
        each = math.prod(shape[1:])
        words = self.words(shape[0], -(-each // 32))
        place = torch.arange(each, device=self.device, dtype=torch.int32)
        if each > 32:
            words = words[:, torch.arange(each, device=self.device) // 32]
            place = place % 32
        return ((words >> place) & 1).view(shape)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Draw whole numbers from 0 to below `high` <= 2^31, each with a chance of 1/high +- 2^-32.

        As int64.
        """
        return (self.words(*shape).long() % 2**32 * high) >> 32

    def uniform(self, *shape: int) -> Tensor:
        """Draw multiples of 2^-24 from 0 to below 1."""
        whole = (self.words(*shape) >> 8) & 0xFFFFFF
        return (whole.to(torch.float32) * 2.0**-24).to(self.dtype)

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers, up to 6.66 in size.

        By Box and Muller's transform (1958) of two words into two numbers, in float32, to a few
        units in the last place.
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
        """Draw standard normal numbers, those beyond two anew until none is."""
        found = self.normal(*shape)
        while bool((beyond := found.abs() > CUT).any()):
            found = torch.where(beyond, self.normal(*shape), found)
        return found

    def permutation(self, n: int) -> Tensor:
        """Draw an order of the numbers 0 to n - 1, as int64: that of n random numbers."""
        return self.words(n).argsort(stable=True)


def _pairs(words: Tensor, out: Tensor) -> None:
    """Turn words, int32 `(rows, 2, half)`, into normal numbers of the same shape.

    With u the lower 31 bits of the first, on (0, 1], and its sign bit s: s sqrt(-2 log u) times the
    cosine and the sine of an angle on [-pi/2, pi/2), the second word's.
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
    """Return sum_k c_k x^k by Horner's rule, each operation rounded by itself."""
    *lower, last = coefficients
    found = x * last
    for coefficient in lower[:0:-1]:
        found.add_(coefficient).mul_(x)
    return found.add_(lower[0])
