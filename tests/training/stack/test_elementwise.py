"""The optimizers that may train many trials at once are element-wise, whatever their options."""

import inspect

import pytest
import torch

from gradbench.training.stack.policy import ELEMENTWISE

STEPS, TRIALS = 300, 3
LEAVES = 150
"""Steps after which the second trial's tensors are no longer stepped with the others'."""
SHAPES = ((32, 5), (32,), (3, 32))  # whole lanes: what is left over takes another kernel

DECAY = {"weight_decay": 0.1}
DECOUPLED = {**DECAY, "decoupled_weight_decay": True}
EITHER = [{"foreach": True}, {"foreach": False}, {"maximize": True}, {"capturable": False}]
FUSED = [{"fused": True}, {"fused": True, **DECAY}]
ADAM = [{"betas": (0.5, 0.9)}, {"eps": 1e-3}, {"amsgrad": True}, DECAY, *EITHER, *FUSED]

OPTIONS = {
    "SGD": [
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "dampening": 0.5},
        DECAY,
        *FUSED,
    ],
    "Adam": [*ADAM, DECOUPLED],
    "AdamW": ADAM,
    "NAdam": [{"betas": (0.5, 0.9), "eps": 1e-3, "momentum_decay": 0.1}, DECAY, DECOUPLED],
    "RAdam": [{"betas": (0.5, 0.9), "eps": 1e-3}, DECAY, DECOUPLED],
    "Adamax": [{"betas": (0.5, 0.9), "eps": 1e-3}, DECAY],
    "Adagrad": [{"lr_decay": 0.1, "initial_accumulator_value": 1.0, "eps": 1e-3}, DECAY, *FUSED],
    "Adadelta": [{"rho": 0.5, "eps": 1e-3}, DECAY],
    "RMSprop": [{"alpha": 0.5, "eps": 1e-3, "momentum": 0.9, "centered": True}, DECAY],
    "Rprop": [{"etas": (0.3, 1.5), "step_sizes": (1e-3, 10)}],
    "ASGD": [{"lambd": 0.1, "alpha": 0.5, "t0": 20}, DECAY],
}
CASES = [
    (name, options)
    for name in ELEMENTWISE
    for options in [{}, *OPTIONS[name], *(EITHER if name != "SGD" else EITHER[:3])]
]
NEVER = {"params", "lr", "differentiable"}  # the last is for steps that are themselves trained


def gradients(dtype):
    """Gradients of every step and trial, of very different sizes, some of them zero."""
    stream = torch.Generator().manual_seed(1)
    width = sum(torch.Size(shape).numel() for shape in SHAPES)
    drawn = torch.randn(STEPS, TRIALS, width, generator=stream, dtype=torch.float64)
    sizes = 10.0 ** torch.randint(-9, 5, (width,), generator=stream)
    return torch.where(drawn.abs() < 0.1, 0.0, drawn * sizes).to(dtype)


def start(dtype):
    return torch.linspace(-1, 1, TRIALS * gradients(dtype).shape[2]).view(TRIALS, -1).to(dtype)


def build(name, parameters, options):
    cls = name if isinstance(name, type) else getattr(torch.optim, name)
    try:
        return cls(parameters, **options)
    except TypeError as error:
        pytest.skip(f"not in torch {torch.__version__}: {error}")


def separate(name, options, dtype):
    found = []
    sizes = [torch.Size(shape).numel() for shape in SHAPES]
    for trial, row in enumerate(start(dtype)):
        parts = zip(row.split(sizes), SHAPES, strict=True)
        parameters = [torch.nn.Parameter(part.view(shape).clone()) for part, shape in parts]
        optimizer = build(name, parameters, options)
        steps = LEAVES if trial == 1 else STEPS
        for gradient in gradients(dtype)[:steps, trial]:
            for p, part in zip(parameters, gradient.split(sizes), strict=True):
                p.grad = part.view(p.shape).clone()
            optimizer.step()
        found.append(torch.cat([p.detach().flatten() for p in parameters]))
    return torch.stack(found)


def together(name, options, dtype):
    parameter = torch.nn.Parameter(start(dtype))
    optimizer = build(name, [parameter], options)
    left, ended = list(range(TRIALS)), {}
    for step, gradient in enumerate(gradients(dtype)):
        if step == LEAVES:
            ended[1], left = parameter.detach()[1].clone(), [0, 2]
            for key, value in optimizer.state[parameter].items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    optimizer.state[parameter][key] = value[left]
            parameter.data = parameter.detach()[left]
        parameter.grad = gradient[left].clone()
        optimizer.step()
    ended |= dict(zip(left, parameter.detach(), strict=True))
    return torch.stack([ended[trial] for trial in range(TRIALS)])


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.proof)], ids=str
)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(*case, marks=pytest.mark.proof if place % 4 else ())
        for place, case in enumerate(CASES)
    ],
    ids=str,
)
def test_one_for_all_trials_equals_one_for_each_to_the_bit(name, options, dtype):
    assert torch.equal(together(name, options, dtype), separate(name, options, dtype))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_no_option_is_left_out(name):
    tried = {key for _, options in [c for c in CASES if c[0] == name] for key in options}
    assert set(inspect.signature(getattr(torch.optim, name)).parameters) <= tried | NEVER


class CouplesLate(torch.optim.SGD):
    """Scaled by its tensor's norm in its last step only."""

    taken = 0

    def step(self, closure=None):
        self.taken += 1
        (group,) = self.param_groups
        if self.taken == STEPS:
            for p in group["params"]:
                p.grad /= 1 + p.grad.norm()
        return super().step(closure)


def test_one_that_couples_is_found():
    found = (way(CouplesLate, {}, torch.float64) for way in (together, separate))
    assert not torch.equal(*found)
