"""The training loop of a stack: one forward and backward pass for all its trials."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gradbench.optimizers.factory import resolve
from gradbench.results.record import Status
from gradbench.torch_state import accelerated
from gradbench.training.stack.blocks import Given, Padded, blocks, given, largest, padded
from gradbench.training.stack.evaluation import Evaluation, possible
from gradbench.training.stack.parameters import StackedParameters
from gradbench.training.stack.passes import Pass, block_pass
from gradbench.training.stack.recorded import RecordedStack
from gradbench.training.stack.shared_optimizer import Shared, UnstackableError
from gradbench.training.state import Measured, TrialState, Watch, end_by_error
from gradbench.training.trial import Trial, evaluation_steps

Owner = tuple[Shared, list[LRScheduler]]


class Stack:
    """Trains trials of one case together, each in its own row of the parameter buffers.

    Trials of equal hyperparameters share one elementwise optimizer over their rows. There must be
    at least two rows, because a single row uses other kernels: callers duplicate a single trial,
    and one ended trial keeps its row beside the last unfinished one.

    On an accelerator ended trials keep their rows but are no longer evaluated, so that shapes and
    with them kernels stay the same until all have ended.

    With `recorded`, steps are recorded and replayed. Raises NotImplementedError where this torch
    records no graphs on the device.
    """

    def __init__(self, states: Sequence[TrialState], *, recorded: bool = False) -> None:
        self.states = sorted(states, key=_rates)
        self.trial, self.scenario = states[0].trial, states[0].scenario
        self.spent = 0
        self.rows = StackedParameters([state.network for state in self.states])
        self.batches = {state.trial.seed: state.batches for state in self.states}
        self.live = [True] * len(self.states)
        self.rows.attach()
        self.owners: list[Owner] = self._share()
        self._bind()
        self.keeps_places = accelerated(self.rows.values.device)
        together = self.keeps_places and possible(self.scenario)
        self.evaluation = Evaluation(self.rows, self.states) if together else None
        self.recorded: RecordedStack | None = None
        if recorded:
            self.recorded = RecordedStack(self.rows, self.blocks, self.owners, self.seeds)

    def run(self, watches: dict[int, Watch]) -> None:
        """Train to the budget, with evaluations on the way; keys of `watches` are `id(state)`."""
        try:
            for due in evaluation_steps(self.trial.budget):
                self.advance(due)
                if self._drop(self._evaluate_all(watches)):
                    break
        finally:
            if self.recorded:
                self.recorded.release()

    def _evaluate_all(self, watches: dict[int, Watch]) -> list[int]:
        """Evaluate the trials that train; return the rows of those that have ended."""
        every = self.evaluation() if self.evaluation else [None] * len(self.states)
        ended = []
        for row, state in enumerate(self.states):
            watch = watches.get(id(state))
            if self.live[row] and self._evaluate(state, watch, every[row]):
                ended.append(row)
        return ended

    def _evaluate(self, state: TrialState, watch: Watch | None, measured: Measured | None) -> bool:
        """Evaluate one trial; return whether it has ended."""
        ended = False

        def evaluate() -> None:
            nonlocal ended
            ended = state.evaluate(watch, measured)
            if ended:
                state.finish()

        if _trains(state):
            _try([state], evaluate)
        return ended or not _trains(state)

    def advance(self, until: int) -> None:
        """Train all rows until that many evaluations are spent."""
        while self.spent < until:
            count = until - self.spent
            living = [t for t, live in zip(self.states, self.live, strict=True) if live]
            watching = [t.probing for t in living if t.probing.active]
            if watching:  # stop before the last step: probes measure its change
                count = max(1, count - 1)
                for one in watching:
                    one.keep()
            for take_pass in self._passes(count):
                self.spent += 1
                take_pass()
                if self.recorded is None or not self.recorded.inside:
                    self._update()
        for each in filter(_trains, self.states):
            each.spent = each.result.gradient_evaluations = self.spent

    def _passes(self, at_most: int) -> Iterator[Callable[[], None]]:
        """Yield the next passes, at least one: recorded ones may include the optimizers' steps."""
        if self.recorded is not None:
            whole = [batches.take_whole(at_most) for batches in self.batches.values()]
            for batch in self.recorded.steps(whole, self.trial.batch):
                yield partial(self.recorded, batch)
            return
        whole = [batches.take_whole(at_most) for batches in self.batches.values()]
        for step in zip(*(padded(one, self.trial.batch) for one in whole), strict=True):
            yield partial(self._pass, dict(zip(self.batches, step, strict=True)))

    def row(self, state: TrialState) -> Tensor:
        """Return a copy of a trial's row of the parameter buffer."""
        return self.rows.values[self.states.index(state)].clone()

    def _pass(self, batches: dict[int, Padded]) -> None:
        """Write the gradients on a batch of each seed to their buffers."""
        for (_, go), tensors in zip(self.blocks, self._given(batches), strict=True):
            go(*tensors)

    def _given(self, batches: dict[int, Padded]) -> Iterator[Given]:
        """Yield the inputs, labels and loss weights of each block."""
        for part, _ in self.blocks:
            yield given([batches[seed] for seed in self.seeds[part]], self.rows.values)

    def _update(self) -> None:
        """Step the optimizers."""
        for owner, schedules in self.owners:
            members = [self.states[row] for row in owner.members]
            if active := list(filter(_trains, members)):
                _try(active, owner.step, *[each.step for each in schedules])

    def _share(self) -> list[Owner]:
        """Return an optimizer and its schedules for each group of rows of equal hyperparameters."""
        factory = resolve(self.trial.optimizer or "")
        found: list[Owner] = []
        start = 0
        for _, group in groupby(self.states, key=_rates):
            members = list(group)
            trial, end = members[0].trial, start + len(members)

            def build(holder: nn.Module, trial: Trial = trial) -> Optimizer:
                given = {"steps": trial.budget, "examples": trial.budget * trial.batch}
                return factory.build(holder, trial.hyperparameters, **given)

            def make(part: range = range(start, end), trial: Trial = trial) -> None:
                owner = Shared(self.rows, part, build)
                put = factory.schedules.put(owner.optimizer, lambda: self.spent, trial.budget)
                found.append((owner, put if factory.schedules else []))

            _try(members, make)
            start = end
        return found

    def _drop(self, ended: Sequence[int]) -> bool:
        """Remove ended trials, on an accelerator only mark them; return whether all have ended."""
        if not ended:
            return False
        for row in ended:
            self.live[row] = False
        if self.keeps_places:
            return not any(self.live)
        left = [row for row, live in enumerate(self.live) if live]
        if not left:
            return True
        if len(left) == 1:  # keep a second row: a single one would use other kernels
            other = next(row for row in range(len(self.live)) if row not in left)
            left = sorted([*left, other])
        if len(left) == len(self.states):
            return False
        self.rows.keep(left)
        for owner, _ in self.owners:
            owner.keep(self.rows, left)
        self.owners = [(owner, each) for owner, each in self.owners if owner.members]
        self.states = [self.states[row] for row in left]
        self.live = [self.live[row] for row in left]
        self._bind()
        return False

    def _parts(self) -> list[slice]:
        """Divide the rows into blocks that fit a CPU's cache; on an accelerator into one block."""
        if accelerated(self.rows.values.device):
            return [slice(0, len(self.states))]
        return blocks(len(self.states), largest(self.states[0]))

    def _bind(self) -> None:
        """Rebuild seeds, batches and the blocks' passes for the current rows."""
        self.seeds = [state.trial.seed for state in self.states]
        self.batches = {seed: self.batches[seed] for seed in dict.fromkeys(self.seeds)}
        self.blocks: list[tuple[slice, Pass]] = [
            (part, block_pass(self.scenario, self.rows, part)) for part in self._parts()
        ]


def _trains(state: TrialState) -> bool:
    return state.result.status is Status.UNSOLVED


def _try(states: list[TrialState], *calls: Callable[[], object]) -> None:
    """Call functions one after another; an exception ends these trials with a status.

    Raises UnstackableError where a function does.
    """
    try:
        for call in calls:
            call()
    except UnstackableError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001
        for state in states:
            end_by_error(state.result, error)


def _rates(state: TrialState) -> list[tuple[str, str]]:
    return sorted((name, repr(value)) for name, value in state.trial.hyperparameters.items())
