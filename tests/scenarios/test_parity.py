"""The mathematics of random parities, each by a second path."""

import itertools
import math

import pytest
import torch

from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity


def every_input(d):
    return torch.tensor(list(itertools.product([1.0, -1.0], repeat=d)))


@pytest.mark.parametrize(("d", "weight"), [(5, 2), (7, 7), (9, 1), (70, 35)])
def test_labels_are_the_texts_minus_one_to_the_inner_product(d, weight):
    scenario = Parity(d=d, weight=weight)
    target = scenario.draw_target(Draws(1))
    x, y = scenario.sample(target, 200, Draws(2))
    support = target["support"].tolist()
    assert len(set(support)) == weight
    for row, label in zip(x.tolist(), y.tolist(), strict=True):
        bits = [(1 - value) / 2 for value in row]  # +1 is the bit 0, -1 the bit 1
        assert set(bits) <= {0.0, 1.0}
        assert label == (-1) ** sum(bits[i] for i in support)


def test_inputs_are_uniform():
    x, _ = Parity(d=6, weight=3).sample({"support": torch.arange(3)}, 20_000, Draws(0))
    assert x.mean(0).abs().max() < 5 / math.sqrt(20_000)
    correlation = x.T @ x / 20_000 - torch.eye(6)
    assert correlation.abs().max() < 5 / math.sqrt(20_000)


def test_positions_are_uniform():
    scenario = Parity(d=8, weight=4)
    stream = Draws(0)
    counts = torch.zeros(8)
    for _ in range(2000):
        counts[scenario.draw_target(stream)["support"]] += 1
    assert (counts / 2000 - 0.5).abs().max() < 5 * math.sqrt(0.25 / 2000)


@pytest.mark.parametrize("d", range(1, 9))
def test_lemma_3_realises_every_parity_on_every_input(d):
    x = every_input(d)
    for weight in range(1, d + 1):
        scenario = Parity(d=d, weight=weight)
        for positions in itertools.combinations(range(d), weight):
            network = scenario.solution({"support": torch.tensor(positions)})
            wanted = x[:, list(positions)].prod(dim=1)
            assert torch.equal(network(x)[:, 0], wanted)


def test_lemma_3_as_printed_is_wrong_where_no_bit_is_set():
    scenario = Parity(d=6, weight=4)
    network = scenario.solution({"support": torch.tensor([0, 2, 3, 5])})
    network[2].weight.data[0, :3] = 0  # the triad at count 0, which the paper leaves out
    x = every_input(6)
    y = x[:, [0, 2, 3, 5]].prod(dim=1)
    wrong = network(x)[:, 0] * y <= 0
    none_set = (x[:, [0, 2, 3, 5]] > 0).all(dim=1)
    assert torch.equal(wrong, none_set)


def test_the_solution_fits_the_papers_width():
    for d in (5, 30):
        scenario = Parity(d=d, weight=d // 2)
        shapes = [p.shape for p in scenario.network(Draws(0)).parameters()]
        solved = scenario.solution(scenario.draw_target(Draws(0)))
        assert [p.shape for p in solved.parameters()] == shapes
        assert shapes[0] == (10 * d, d)


def test_held_out_is_everything_where_that_is_small():
    scenario = Parity(d=12, weight=6)
    x, y = scenario.held_out(scenario.draw_target(Draws(0)), Draws(1))
    assert len(x) == len(x.unique(dim=0)) == 2**12
    assert y.sum() == 0  # a parity is balanced
    larger, _ = Parity(d=13, weight=6).held_out({"support": torch.arange(6)}, Draws(1))
    assert 1 / math.sqrt(len(larger)) < 0.01


def test_loss_and_score_of_each_example_by_hand():
    scenario = Parity(d=3, weight=1)
    outputs = torch.tensor([[2.0], [0.5], [-0.25], [0.0], [-3.0]])
    labels = torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0])
    assert scenario.loss(outputs, labels).tolist() == [0.0, 0.5, 1.25, 1.0, 0.0]
    assert scenario.score(outputs, labels).tolist() == [1.0, 1.0, 0.0, 0.5, 1.0]


def test_initialisation_is_the_scripts():
    torch.manual_seed(0)
    first, _, last = Parity(d=30, weight=2).network(Draws(0))
    cut = 0.8796  # standard deviation of a standard normal cut at two
    assert first.weight.std().item() * math.sqrt(30) == pytest.approx(cut, rel=0.03)
    assert last.weight.abs().max() <= 2 / math.sqrt(300)
    assert not first.bias.any()
    assert not last.bias.any()


@pytest.mark.parametrize(("d", "weight"), [(5, 0), (5, 6)])
def test_a_weight_that_does_not_fit_is_refused(d, weight):
    with pytest.raises(ValueError, match="weight"):
        Parity(d=d, weight=weight)


def test_an_approach_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="choose from gradient, elimination"):
        Parity(d=5, weight=2, approach="guess")


def test_bits_are_the_same_examples_in_the_texts_inputs():
    target = {"support": torch.tensor([0, 2, 5])}
    signs, bits = (Parity(d=6, weight=3, inputs=i) for i in ("signs", "bits"))
    x, y = signs.sample(target, 200, Draws(3))
    b, labels = bits.sample(target, 200, Draws(3))
    assert set(b.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(1 - 2 * b, x)
    assert torch.equal(labels, y)
    assert torch.equal(labels, (-1.0) ** b[:, [0, 2, 5]].sum(dim=1))
    assert torch.equal(bits.solution(target)(b)[:, 0], labels)
    assert bits.setting == signs.setting


@pytest.mark.parametrize(
    "wrong", [{"inputs": "words"}, {"inputs": "bits", "approach": "elimination"}]
)
def test_inputs_are_signs_or_bits(wrong):
    with pytest.raises(ValueError, match="signs"):
        Parity(d=5, weight=2, **wrong)
