"""Architectures in the place of a case's own network, and the gallery."""

import math

import pytest
import torch

from gradbench import Trial, run_trial
from gradbench.architectures import gallery
from gradbench.architectures.factory import FixedError, build, names, resolve
from gradbench.protocol.case import Case
from gradbench.protocol.item import Item
from gradbench.protocol.run_item import run_item
from gradbench.results.record import Expectation, Outcome, Status, TrialResult
from gradbench.scenarios.allocation import Allocation
from gradbench.scenarios.curves import Curves
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.line_tuples import LineTuples
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.periodic import Periodic
from gradbench.scenarios.saturation import Saturation
from gradbench.scenarios.steps import Steps
from gradbench.spec import SpecError
from gradbench.training.loop import Training

OPEN = [
    Parity(d=5, weight=2),
    Periodic(d=5, r=1.0),
    Allocation(d=20, k=5),
    LineTuples(k=2),
    LineTuples(approach="decomposition", k=2),
    Curves(approach="linear", n=30, data="script"),
    Steps(approach="end-to-end"),
    Steps(approach="multi-class"),
]
FIXED = [
    Parity(d=30, weight=15, approach="elimination"),
    LineTuples(k=2, n1="convolution"),
    Curves(approach="convolution", n=30),
    Curves(approach="linear", n=30),  # scored by the distance of one matrix to the inverse
    Saturation(depth=2),
    Steps(approach="direct"),
]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("scenario", OPEN, ids=str)
def test_every_open_scenario_takes_all_of_the_gallery_and_learns_a_step(scenario, name):
    torch.manual_seed(0)
    network = build(scenario, name, Draws(0))
    draws = Draws(0)
    target = scenario.draw_target(draws)
    inputs, labels = scenario.sample(target, 32, draws)
    before = scenario.loss(network(inputs), labels).mean()
    before.backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
    assert torch.equal(build_again(scenario, name)(inputs), build_again(scenario, name)(inputs))


def build_again(scenario, name):
    torch.manual_seed(1)
    return build(scenario, name, Draws(0))


@pytest.mark.parametrize("scenario", FIXED, ids=str)
def test_where_the_network_is_the_point_it_is_fixed(scenario):
    with pytest.raises(FixedError, match="fixes its network here"):
        build(scenario, "mlp", Draws(0))


def test_the_gallerys_mlp_is_the_papers_network():
    torch.manual_seed(0)
    own = Parity(d=5, weight=2).network(Draws(int(torch.randint(2**62, ()))))
    torch.manual_seed(0)
    ours = gallery.mlp(input_shape=(5,), output_size=1, width=50, depth=1)
    own, ours = own.state_dict(), ours.state_dict()
    for a, b in zip(own.values(), ours.values(), strict=True):
        assert torch.equal(a, b)


def test_patches_are_cut_as_by_hand():
    image = torch.arange(2 * 1 * 4 * 6.0).view(2, 1, 4, 6)
    tokens = gallery.Patches((1, 4, 6), 2)(image)
    assert tokens.shape == (2, 6, 4)
    by_hand = [image[:, 0, i : i + 2, j : j + 2] for i in (0, 2) for j in (0, 2, 4)]
    for index, patch in enumerate(by_hand):
        assert torch.equal(tokens[:, index], patch.reshape(2, 4))
    with pytest.raises(ValueError, match="do not fill"):
        gallery.Patches((1, 5, 6), 2)


def test_attention_is_torchs():
    torch.manual_seed(0)
    ours, x = gallery.Attention(8, 2), torch.randn(3, 5, 8)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.mix.weight)
        theirs.in_proj_bias.copy_(ours.mix.bias)
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    assert torch.allclose(ours(x), theirs(x, x, x)[0], atol=1e-6)


def test_a_sinusoidal_layer_starts_with_phases_of_the_same_size_whatever_the_frequency():
    for frequency in (1.0, 10.0):
        torch.manual_seed(0)
        net = gallery.sinusoidal(
            input_shape=(50,), output_size=1, width=4000, depth=1, frequency=frequency
        )
        phase = frequency * (torch.randn(200, 50) @ net[1].weight.T)
        assert phase.std().item() == pytest.approx(2**0.5 * frequency, rel=0.05)
        shift = frequency * net[1].bias  # uniform over a period
        assert shift.std().item() == pytest.approx(math.pi / 3**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("nosuch", "unknown architecture 'nosuch'; there are paper, mlp"),
        ("mlp:widht=3", "unexpected keyword argument 'widht'"),
        ("json:dumps", "called with input_shape, output_size"),
        ("mlp+cosine", "an architecture is one part"),
        ("no_such_module:f", "cannot import no_such_module"),
        ("./nofile.py:f", "there is no file"),
        ("./net.py", "is no architecture; write a name, or module:factory or ./file.py:factory"),
    ],
)
def test_what_cannot_be_used_says_why(spec, told):
    with pytest.raises(SpecError, match=told):
        resolve(spec)


MINE = """
import torch
def wrong(input_shape, output_size):
    return torch.nn.Linear(input_shape[0], output_size + 1)
def crashes(input_shape, output_size):
    return torch.nn.Linear(input_shape[0] + 1, output_size)
class Written(torch.nn.Linear):
    def forward(self, inputs):
        inputs *= 1.5
        return super().forward(inputs)
def writes(input_shape, output_size):
    return Written(input_shape[0], output_size)
class Two(torch.nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs), None
def two(input_shape, output_size):
    return Two(input_shape[0], output_size)
def frozen(input_shape, output_size):
    return torch.nn.Linear(input_shape[0], output_size).requires_grad_(False)
def normed(input_shape, output_size):
    return torch.nn.Sequential(
        torch.nn.BatchNorm1d(*input_shape), torch.nn.Dropout(0.5),
        torch.nn.Linear(*input_shape, output_size))
"""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wrong", "of shape"),
        ("crashes", "does not fit: RuntimeError"),
        ("writes", "changes its inputs, which are evaluated again"),
        ("two", "it returns tuple, no tensor"),
        ("frozen", "no parameters that could be trained"),
    ],
)
def test_a_network_that_does_not_fit_is_unsupported(tmp_path, name, told):
    (tmp_path / "net.py").write_text(MINE)
    result = run_trial(
        Trial(scenario=OPEN[0], optimizer="sgd", architecture=f"{tmp_path}/net.py:{name}")
    )
    assert result.status == Status.UNSUPPORTED
    assert told in result.reason


def test_looks_are_in_evaluation_mode(tmp_path):
    """Batch norm and dropout: a look is the network's answer in evaluation mode."""
    (tmp_path / "net.py").write_text(MINE)
    spec = f"{tmp_path}/net.py:normed"
    trial = Trial(scenario=Periodic(d=5, r=1.0), optimizer="sgd", architecture=spec, budget=1)
    result = TrialResult(0, Status.UNSOLVED)
    training = Training(trial, result)
    training.run(None)
    assert training.network.training  # and back to training
    _, loss = trial.scenario.evaluate(training.network.eval(), training.held_out)
    assert result.curve[-1][2] == loss


def test_an_item_with_an_architecture_asks_nothing_and_is_its_own_contestant():
    case = Case(
        id="parity-d5-weight2",
        scenario="gradbench.scenarios.parity:Parity",
        setting={"d": 5, "weight": 2},
        budget=100,
        expectation=Expectation.MUST,
    )
    item = Item(case=case, optimizer="adam", architecture="mlp:width=64", seeds=2, tuning=0)
    record, _ = run_item(item)
    assert (record.expectation, record.architecture) == ("may", "mlp:width=64")
    assert record.entry == "adam on mlp:width=64"
    same, _ = run_item(Item(case=case, optimizer="adam", seeds=2, tuning=0))
    assert (same.expectation, same.entry) == ("must", "adam")
    assert same.trials[0]["target"] == record.trials[0]["target"]  # paired


def test_where_it_is_fixed_the_item_is_skipped_without_a_sweep():
    case = Case(
        id="saturation",
        scenario="gradbench.scenarios.saturation:Saturation",
        setting={"depth": 2},
        budget=100,
        expectation=Expectation.MUST,
    )
    record, _ = run_item(Item(case=case, optimizer="adam", architecture="mlp", seeds=2))
    assert record.outcome == Outcome.SKIPPED
    assert record.reason == "saturation fixes its network here"
    assert record.tuning == []
