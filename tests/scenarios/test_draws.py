import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from gradbench.scenarios.draws import Draws

# counter, key and output of philox4x64 with 10 rounds: kat_vectors of Random123 (SC 2011)
KNOWN = [
    ([0] * 4, [0] * 2, "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    (
        [2**64 - 1] * 4,
        [2**64 - 1] * 2,
        "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
    ),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        [0x452821E638D01377, 0xBE5466CF34E90C6C],
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]


def philox(counter, key):
    """Philox4x64-10 as its paper defines it, in whole numbers of Python."""
    c, (k0, k1), mask = list(counter), key, 2**64 - 1
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [b >> 64 ^ c[1] ^ k0, b & mask, a >> 64 ^ c[3] ^ k1, a & mask]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return c


@pytest.mark.parametrize(("counter", "key", "wanted"), KNOWN)
def test_the_reference_has_the_published_vectors(counter, key, wanted):
    assert " ".join(f"{word:016x}" for word in philox(counter, key)) == wanted


@pytest.mark.parametrize("first", [0, 1, 7, 8, 1000])
def test_words_are_the_cipher_of_row_field_and_key(first):
    key = 0x0123456789ABCDEF_FEDCBA9876543210
    draws = Draws(key, first=first)
    for field in range(3):
        words = draws.words(5, 3).flatten().tolist()
        for place, word in enumerate(words, start=3 * first):
            block = philox([place // 8, 0, field, 0], [key % 2**64, key >> 64])
            half = block[place % 8 // 2] >> 32 * (place % 2) & 0xFFFFFFFF
            assert word % 2**32 == half


@pytest.mark.parametrize(
    "draw",
    [
        lambda d, n: d.words(n, 3),
        lambda d, n: d.bits(n, 40),
        lambda d, n: d.integers(10, n, 2),
        lambda d, n: d.uniform(n, 3),
        lambda d, n: d.normal(n, 5),
        lambda d, n: d.truncated_normal(n, 4),
    ],
)
def test_a_row_depends_on_its_number_alone(draw):
    whole = draw(Draws(5), 3000)
    parts = [draw(Draws(5, first=first), 500) for first in range(0, 3000, 500)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(draw(Draws(5, first=2999), 1), whole[-1:])


def test_every_call_key_and_row_draws_anew():
    draws = Draws(1)
    fields = [draws.words(1000) for _ in range(3)]
    fields += [Draws(2).words(1000), Draws(1, first=1000).words(1000)]
    for a, b in itertools.combinations(fields, 2):
        assert (a == b).sum() <= 1
        shared = sum(
            ((x ^ y) % 2**32).bit_count() for x, y in zip(a.tolist(), b.tolist(), strict=True)
        )
        assert abs(shared - 16_000) < 5 * math.sqrt(8000)


def test_bits_and_integers_are_uniform_and_uncorrelated():
    bits = Draws(3).bits(100_000, 35).double()
    assert (bits.mean(dim=0) - 0.5).abs().max() < 5 * 0.5 / math.sqrt(100_000)
    correlation = torch.corrcoef(bits.T) - torch.eye(35)
    assert correlation.abs().max() < 5.5 / math.sqrt(100_000)
    counts = np.bincount(Draws(4).integers(7, 70_000).numpy(), minlength=7)
    assert stats.chisquare(counts).pvalue > 1e-4
    assert Draws(4).integers(2**31, 1000).max() < 2**31


def test_uniform_numbers_fill_the_interval():
    drawn = Draws(6).uniform(1000, 1000)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert torch.equal(drawn * 2**24, (drawn * 2**24).round())
    assert stats.kstest(drawn.flatten().double().numpy(), "uniform").pvalue > 1e-4
    pairs = torch.corrcoef(torch.stack((drawn[:-1].flatten(), drawn[1:].flatten())))[0, 1]
    assert abs(pairs) < 5e-3


def test_normal_numbers_are_box_mullers_transform_of_their_words():
    words = Draws(8).words(4000, 2, 3).double()
    u = (words[:, 0] % 2**31 + 0.5) / 2**31
    radius = (-2 * u.log()).sqrt() * torch.where(words[:, 0] < 0, -1.0, 1.0)
    angle = words[:, 1] * math.pi / 2**32
    wanted = torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)
    drawn = Draws(8).normal(4000, 6)
    assert (drawn - wanted).abs().max() < 3e-6
    assert torch.equal(Draws(8).normal(4000, 5), drawn[:, :5])


def test_normal_numbers_are_normal():
    drawn = Draws(9).normal(2000, 1000).double()
    values, n = drawn.flatten(), drawn.numel()
    assert stats.kstest(values.numpy(), "norm").pvalue > 1e-4
    for power, wanted, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((values**power).mean() - wanted) < 5 * math.sqrt(variance / n)
    beyond = (values.abs() > 4).sum().item()
    assert abs(beyond - n * 2 * stats.norm.sf(4)) < 5 * math.sqrt(n * 2 * stats.norm.sf(4))
    halves = torch.corrcoef(torch.stack((values[:-1].abs(), values[1:].abs())))[0, 1]
    assert abs(halves) < 5 / math.sqrt(n)
    assert abs((drawn[:, :500] * drawn[:, 500:]).mean()) < 5 / math.sqrt(n / 2)
    assert abs((drawn[:, :500].square() * drawn[:, 500:].square()).mean() - 1) < 5 * 3 / math.sqrt(
        n / 2
    )


def test_truncated_numbers_have_the_truncated_law():
    drawn = Draws(10).truncated_normal(1000, 300).double().flatten()
    assert drawn.abs().max() <= 2
    assert stats.kstest(drawn.numpy(), stats.truncnorm(-2, 2).cdf).pvalue > 1e-4


def test_permutations_are_uniform():
    draws, counts = Draws(11), {}
    for _ in range(12_000):
        order = tuple(draws.permutation(4).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_float64_has_float32s_values():
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        double = Draws(12).normal(50, 3)
    finally:
        torch.set_default_dtype(before)
    assert double.dtype is torch.float64
    assert torch.equal(double.float(), Draws(12).normal(50, 3))


PRINTS = """
import hashlib, torch
from gradbench.scenarios.draws import Draws
drawn = Draws(13).normal(100_000, 20)
print(torch.backends.cpu.get_cpu_capability(), hashlib.sha256(drawn.numpy().tobytes()).hexdigest())
"""


@pytest.mark.proof
def test_a_processors_capabilities_change_no_bit():
    found = {}
    for capability in ("default", "avx2", ""):
        environment = os.environ | {"ATEN_CPU_CAPABILITY": capability}
        if not capability:
            del environment["ATEN_CPU_CAPABILITY"]
        ran = subprocess.run(
            [sys.executable, "-c", PRINTS],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        name, digest = ran.stdout.rsplit(maxsplit=1)
        found[name] = digest
    assert {"DEFAULT", "NO AVX"} & set(found)
    assert len(set(found.values())) == 1
