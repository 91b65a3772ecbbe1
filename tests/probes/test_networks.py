"""Probes on networks of one's own: each kind works, or is refused in words."""

import pytest
import torch

from gradbench.probes import (
    condition_number,
    effective_condition_number,
    flatness,
    gradient_alignment,
    parity_profile,
    parity_variance,
    second_moment,
    signal_to_noise,
    variance_over_targets,
)
from gradbench.scenarios.draws import Draws
from gradbench.scenarios.parity import Parity
from gradbench.scenarios.saturation import Saturation

SCENARIO = Saturation(n=8)


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(4, 2, 16, dropout=0.0, batch_first=True)
        self.body = torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = torch.nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.body(x.unflatten(1, (2, 4))).mean(dim=1))


class Scaled(torch.nn.Module):
    """Attention by hand, as a second path."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Linear(4, 12)
        self.head = torch.nn.Linear(4, 1)
        self.fused = True

    def forward(self, x):
        # one head as a dimension of its own: without it torch does not take its fused kernel
        q, k, v = self.mix(x.unflatten(1, (1, 2, 4))).chunk(3, dim=-1)
        if self.fused:
            y = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            y = (q @ k.mT / 2).softmax(dim=-1) @ v
        return self.head(y.mean(dim=(1, 2)))


def test_a_transformer_is_measured_by_every_probe():
    torch.manual_seed(0)
    network, target = Attention(), SCENARIO.draw_target(Draws(0))
    batch = SCENARIO.sample(target, 64, Draws(1))
    readings = [
        effective_condition_number(network, SCENARIO.loss, batch),
        signal_to_noise(SCENARIO, network, examples=512),
        second_moment(SCENARIO, network, examples=128),
        variance_over_targets(SCENARIO, network, examples=1024),
        *gradient_alignment(network, SCENARIO.loss, SCENARIO.solution(target), batch)[:1],
    ]
    assert [r.note for r in readings if r.value is None] == []
    flatness(network, SCENARIO.loss, batch)


def test_attention_is_differentiated_twice_as_if_written_out():
    torch.manual_seed(0)
    network = Scaled()
    batch = SCENARIO.sample(SCENARIO.draw_target(Draws(0)), 64, Draws(1))
    found = []
    for network.fused in (True, False):
        reading = effective_condition_number(network, SCENARIO.loss, batch)
        found.append(reading.value)
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_batch_norm_in_training_is_refused_and_taken_in_evaluation():
    network = torch.nn.Sequential(
        torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 1)
    )
    with pytest.raises(ValueError, match="BatchNorm1d in training mode mixes examples"):
        signal_to_noise(SCENARIO, network)
    assert signal_to_noise(SCENARIO, network.eval()).value is not None
    network[1] = torch.nn.BatchNorm1d(4, track_running_stats=False)
    with pytest.raises(ValueError, match="mixes examples"):
        signal_to_noise(SCENARIO, network.eval())


def test_outputs_of_another_shape_are_refused_in_words():
    class Flat(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x)[:, 0]

    class Two(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    parity = Parity(d=8, weight=2)
    x = torch.ones(8, 8)
    for network, said in (
        (Flat(8, 1), r"shape \(n, k\): return \(n, 1\), not \(n,\)"),
        (Two(8, 1), r"shape \(n, k\), not a tuple"),
        (torch.nn.Linear(8, 2), r"needs a network of outputs \(n, 1\), not \(n, 2\)"),
    ):
        for probe in (
            lambda network: parity_variance(network, parity.loss, x),
            lambda network: parity_profile(network, parity.loss, 8),
            lambda network: variance_over_targets(parity, network),
        ):
            with pytest.raises((ValueError, TypeError), match=said):
                probe(network)


def test_a_condition_number_is_of_a_symmetric_matrix():
    w = torch.tensor([[1.0, 0.0], [5.0, 1.0]])
    with pytest.raises(ValueError, match="not symmetric"):
        condition_number(w)
    exact = torch.linalg.cond(w.double()).item()
    assert condition_number(w.T @ w) ** 0.5 == pytest.approx(exact, rel=1e-6)
    for wrong in (torch.ones(2, 3), torch.tensor([[1.0, float("nan")], [0.0, 1.0]]), torch.ones(3)):
        with pytest.raises(ValueError, match="square, finite"):
            condition_number(wrong)
    assert condition_number(torch.zeros(2, 2)) == float("inf")
