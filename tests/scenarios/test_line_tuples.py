"""The images and the labels of tuples of lines, each by a second path."""

import math

import pytest
import torch

from gradbench.scenarios.draws import Draws
from gradbench.scenarios.line_tuples import (
    CEILING,
    SIDE,
    ChannelsLast,
    LineTuples,
    draw,
    lines,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_images_pixel_for_pixel_by_the_plain_definition():
    n, stream = 300, generator(1)
    theta = math.pi * torch.rand(n, 1, generator=stream, dtype=torch.float64)
    half = ((5 + 18 * torch.rand(n, 1, generator=stream, dtype=torch.float64)) / 2).floor()
    centre = SIDE * torch.rand(2, n, 1, generator=stream, dtype=torch.float64)
    images = draw(theta, half, centre, torch.float64).view(n, SIDE, SIDE)
    for i in range(n):
        plain = torch.zeros(SIDE, SIDE, dtype=torch.float64)
        cos, sin = (f(theta[i]).item() for f in (torch.cos, torch.sin))
        for t in range(int(half[i])):
            for side in (1, -1):
                row = int(centre[0, i].item() + side * (t * cos))  # int truncates toward zero
                column = int(centre[1, i].item() + side * (t * sin))
                if 0 <= row < SIDE and 0 <= column < SIDE:
                    plain[row, column] = 1
        assert torch.equal(images[i], plain)


def test_lengths_angles_and_labels_are_uniform():
    images, labels = lines(20_000, Draws(2))
    assert set(labels.unique().tolist()) == {-1.0, 1.0}
    assert abs(labels.mean().item()) < 5 / math.sqrt(20_000)
    assert set(images.unique().tolist()) == {0.0, 1.0}
    assert 2 <= images.sum(dim=1).max() <= 2 * 11


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_a_tuples_label_is_the_product_and_is_balanced(k):
    x, labels = LineTuples(k=k).sample({}, 10_000, Draws(3))
    assert x.shape == (10_000, k, SIDE**2)
    product = torch.ones(10_000)
    for slot in range(k):
        product = product * labels[:, 1 + slot]
    assert torch.equal(labels[:, 0], product)
    assert abs(labels[:, 0].mean().item()) < 0.05


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_independent_images_at_the_ceiling_give_the_tuples_ceiling(k):
    right = torch.rand(400_000, k, generator=generator(4)) < CEILING
    even = ((~right).sum(dim=1) % 2 == 0).double().mean().item()
    assert LineTuples(k=k).ceiling == pytest.approx(even, abs=0.004)


def test_the_ceiling_is_half_of_the_images_without_covariance():
    """In whole numbers: sums of coordinates of lit pixels."""
    images, labels = lines(200_000, Draws(5))
    at = torch.arange(SIDE)
    sides = torch.stack((at.repeat_interleave(SIDE), at.repeat(SIDE)))
    columns = torch.stack((*sides, sides.prod(dim=0), torch.ones(SIDE**2, dtype=torch.long)))
    row, column, both, lit = (images @ columns.T.float()).long().T
    covariance = both * lit - row * column
    without = covariance == 0
    assert torch.equal(covariance.sign()[~without], labels[~without].long())
    share = without.float().mean().item()
    assert abs(CEILING - (1 - share / 2)) < 4 * 0.34 / 200_000**0.5
    balance = labels[without].mean().item()
    assert abs(balance) < 4 / without.sum().item() ** 0.5


def test_the_known_solution_is_at_the_ceiling_of_one_image():
    scenario = LineTuples(k=1)
    examples = scenario.sample({}, 20_000, Draws(5))
    accuracy = scenario.details(scenario.solution({}), examples)["image_accuracy_folded"]
    assert accuracy == pytest.approx(CEILING, abs=0.005)


def test_the_scripts_start_has_its_deviations_and_its_scores():
    cut = 0.8796  # standard deviation of a standard normal cut at two
    networks = {
        start: [LineTuples(k=1, n1="convolution", start=start).network(Draws(s)) for s in range(20)]
        for start in ("fan-in", "script")
    }
    for start, wanted in (("fan-in", (1 / 5, 1 / 20)), ("script", (28**-0.5, 1 / 4))):
        for place, std in zip((1, 3), wanted, strict=True):
            weights = torch.stack([network.n1[place].weight for network in networks[start]])
            assert weights.std().item() == pytest.approx(cut * std, rel=0.05)
    x, _ = LineTuples(k=1).sample({}, 500, Draws(1))
    with torch.no_grad():
        spread = {
            start: torch.stack([network(x)[:, 1].std() for network in found]).median().item()
            for start, found in networks.items()
        }
    assert 0.07 < spread["script"] < 0.15
    assert 0.015 < spread["fan-in"] < 0.04


def test_losses_by_hand():
    outputs = torch.tensor([[0.5, 2.0, -1.0]])
    labels = torch.tensor([[-1.0, 1.0, -1.0]])
    assert LineTuples(k=2).loss(outputs, labels).tolist() == [1.5]
    both = LineTuples(approach="decomposition", k=2).loss(outputs, -labels)
    assert both.tolist() == [0.5 + (3.0 + 2.0) / 2]


def test_the_sign_ambiguity_is_folded_in_the_details_and_never_in_the_score():
    scenario = LineTuples(k=2)
    examples = scenario.sample({}, 500, Draws(6))

    class Flipped(torch.nn.Module):
        def forward(self, images):
            return -scenario.solution({})(images)

    right = scenario.details(scenario.solution({}), examples)["image_accuracy_folded"]
    assert scenario.details(Flipped(), examples)["image_accuracy_folded"] == pytest.approx(right)
    score = scenario.evaluate(scenario.solution({}), examples)[0]
    assert scenario.evaluate(Flipped(), examples)[0] == pytest.approx(-score, abs=1e-5)


@pytest.mark.parametrize("n1", ["dense", "convolution"])
def test_images_share_the_weights_of_n1(n1):
    torch.manual_seed(0)
    scenario = LineTuples(k=3, n1=n1)
    network = scenario.network(Draws(0))
    x, _ = scenario.sample({}, 4, Draws(7))
    swapped = network(x[:, [2, 0, 1]])
    assert torch.allclose(network(x)[:, [3, 1, 2]], swapped[:, 1:], atol=1e-5)


def test_both_approaches_and_networks_meet_the_same_data():
    settings = {
        str(LineTuples(approach=a, n1=n).setting)
        for a in ("end-to-end", "decomposition")
        for n in ("dense", "convolution")
    }
    assert len(settings) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"approach": "guess"}, {"n1": "none"}, {"k": 0}, {"start": "script"}, {"start": "text"}],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"choose approach|need k|start"):
        LineTuples(**wrong)


@pytest.mark.parametrize("channels", [1, 16])
def test_channels_last_is_the_plain_convolution_with_contiguous_gradients(channels):
    fast = ChannelsLast(channels, 16, 5, padding=2).double()
    plain = torch.nn.Conv2d(channels, 16, 5, padding=2).double()
    plain.load_state_dict(fast.state_dict())
    images = torch.randn(7, channels, 28, 28, dtype=torch.float64)
    for layer in (fast, plain):
        layer(images).square().sum().backward()
    torch.testing.assert_close(fast(images), plain(images), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(fast.weight.grad, plain.weight.grad, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fast.bias.grad, plain.bias.grad, rtol=1e-10, atol=1e-10)
    assert fast.weight.is_contiguous()
    assert fast.weight.grad.is_contiguous()
    assert fast.weight.grad.stride() == fast.weight.stride()
