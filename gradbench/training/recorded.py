"""One trial's steps, recorded and replayed by the accelerator."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Optimizer

from gradbench.optimizers.requirements import Requirements
from gradbench.torch_state import random_state
from gradbench.training.graph_capture import WARM, Graph, can_capture, make_capturable

KNOWN = ("torch.nn.", "gradbench.")
"""Packages of modules without side effects in Python, which a replay would leave out."""

Loss = Callable[[Tensor, Tensor], Tensor]


class UnrecordableError(Exception):
    """A recorded step could differ from the optimizer's own; the message says why."""


class RecordedSteps:
    """Runs training steps with forward and backward pass recorded once and then replayed.

    The step of a torch.optim optimizer is recorded with them if `can_capture` allows it and there
    is no schedule. Any other step is called in Python after each pass, as in its author's own loop,
    with gradients in new tensors.

    Raises UnrecordableError as soon as it detects that a replay could differ from an ordinary step,
    and NotImplementedError where this torch records no graphs on the device.
    """

    def __init__(
        self, network: nn.Module, optimizer: Optimizer, loss: Loss, *, scheduled: bool
    ) -> None:
        self.network, self.optimizer, self.loss = network, optimizer, loss
        self.parameters = list(network.parameters())
        self.device = self.parameters[0].device
        self.inside = can_capture(optimizer) and not scheduled
        self.graph = Graph(self._pass, self.device)
        self.batch: list[Tensor] = []
        """Buffers of inputs and labels that the graph reads."""
        self.grads: list[Tensor | None] = []
        self.fixed = self._state()

    def __call__(self, inputs: Tensor, labels: Tensor) -> None:
        """Take a step on a batch; all batches have one size."""
        self.batch = self.batch or [inputs.clone(), labels.clone()]
        for place, tensor in zip(self.batch, (inputs, labels), strict=True):
            place.copy_(tensor)
        if self.graph.steps > WARM:
            self.graph()
        else:
            self._watched()
        if self.inside:
            return
        for parameter, grad in zip(self.parameters, self.grads, strict=True):
            parameter.grad = None if grad is None else grad.clone()
        self.optimizer.step()
        if self._state() != self.fixed:
            raise UnrecordableError("the optimizer replaces, freezes or hooks parameters")

    def release(self) -> None:
        """Free the recorded graph with its buffers and gradients."""
        self.graph.release()
        self.batch, self.grads = [], []

    def _pass(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
        inputs, labels = self.batch
        self.loss(self.network(inputs), labels).mean().backward()
        self.grads = [parameter.grad for parameter in self.parameters]
        if self.inside:
            self.optimizer.step()
            if self.graph.steps == 1:
                make_capturable(self.optimizer)

    def _watched(self) -> None:
        """Run one of the passes up to the recording, and check that it can be replayed.

        Raises UnrecordableError where the network draws random numbers or a parameter has hooks.
        """
        recording = self.graph.steps == WARM
        before = None if recording else random_state(self.device)
        self.graph()
        if before is not None and random_state(self.device) != before:
            raise UnrecordableError("the network draws random numbers")
        if any(map(_hooked, self.parameters)):
            raise UnrecordableError("the optimizer registers hooks on parameters")

    def _state(self) -> list[tuple[int, bool, bool]]:
        return [(p.data_ptr(), p.requires_grad, _hooked(p)) for p in self.parameters]


def _hooked(parameter: Tensor) -> bool:
    hooks = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return any(getattr(parameter, name, None) for name in hooks)


def trouble(network: nn.Module, optimizer: Optimizer, needs: Requirements) -> str:
    """Return why a trial's steps are not recorded; empty where they are."""
    asked = ("closure", "create_graph", "fused", "modes", "model")
    for name in asked:
        if getattr(needs, name):
            return f"the optimizer needs {name.replace('_', ' ')}"
    if type(optimizer).zero_grad is not Optimizer.zero_grad or "zero_grad" in vars(optimizer):
        return "the optimizer has a zero_grad of its own"
    for module in network.modules():
        if not f"{type(module).__module__}.".startswith(KNOWN):
            return f"{type(module).__name__} is neither torch's nor gradbench's"
        if any(vars(module).get(name) for name in HOOKS) or "forward" in vars(module):
            return f"{type(module).__name__} has hooks"
    return ""


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
