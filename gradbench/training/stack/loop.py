"""The training loop of a stack: one forward and backward pass for all its trials."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gradbench.optimizers.factory import UnsupportedError, resolve
from gradbench.results.record import Status
from gradbench.scenarios.base import Batch
from gradbench.torch_state import accelerated
from gradbench.training.loop import Measured, Training, Watch, one_line
from gradbench.training.stack.blocks import Given, blocks, filled, given, largest
from gradbench.training.stack.evaluation import Evaluation, possible
from gradbench.training.stack.parameters import StackedParameters
from gradbench.training.stack.passes import Pass, block_pass
from gradbench.training.stack.recorded import RecordedStack
from gradbench.training.stack.shared_optimizer import Shared, UnstackableError
from gradbench.training.trial import Trial, evaluation_steps

Owner = tuple[Shared, list[LRScheduler]]


class Stack:
    """Trials of one case that train in step, each of their rows by itself.

    Trials of equal hyperparameters share one optimizer over their rows, which must be element-wise.
    There are always two rows or more, since a lone one would meet other kernels: a lone trial comes
    twice, and of the last two one stays on when it has ended.

    On an accelerator a trial that has ended keeps its place, where nothing looks at it any more: so
    shapes, and with them kernels, stay the same until all have ended.

    With `recorded`, steps are recorded and replayed; raises NotImplementedError where that cannot
    be had.
    """

    def __init__(self, trainings: Sequence[Training], *, recorded: bool = False) -> None:
        self.trainings = sorted(trainings, key=_rates)
        self.trial, self.scenario = trainings[0].trial, trainings[0].scenario
        self.spent = 0
        self.rows = StackedParameters([training.network for training in self.trainings])
        self.batches = {training.trial.seed: training.batches for training in self.trainings}
        self.live = [True] * len(self.trainings)
        self.rows.attach()
        self.owners: list[Owner] = self._share()
        self._bind()
        on_device = accelerated(self.rows.values.device)
        together = on_device and possible(self.scenario)
        self.evaluation = Evaluation(self.rows, self.trainings) if together else None
        self.keeps_places = on_device
        self.recorded: RecordedStack | None = None
        if recorded:
            self.recorded = RecordedStack(self.rows, self.blocks, self.owners, self.seeds)

    def run(self, watches: dict[int, Watch]) -> None:
        """Train to the budget, looking on the way; `watches` by the training's `id`."""
        for look in evaluation_steps(self.trial.budget):
            self.advance(look)
            every = self.evaluation() if self.evaluation else [None] * len(self.trainings)
            ended = []
            for row, training in enumerate(self.trainings):
                watch = watches.get(id(training))
                if self.live[row] and self._look(training, watch, every[row]):
                    ended.append(row)
            if self._drop(ended):
                break
        if self.recorded:
            self.recorded.graph.release()

    def _look(self, training: Training, watch: Watch | None, measured: Measured | None) -> bool:
        """Look at one trial; return whether it has ended."""
        ended = False

        def look() -> None:
            nonlocal ended
            ended = training.look(watch, measured)
            if ended:
                training.finish()

        if _trains(training):
            _try([training], look)
        return ended or not _trains(training)

    def advance(self, look: int) -> None:
        """Train all rows until that many evaluations are spent."""
        while self.spent < look:
            count = look - self.spent
            living = [t for t, live in zip(self.trainings, self.live, strict=True) if live]
            watching = [t.watching for t in living if t.watching.active]
            if watching:  # stop once more before the last step, to see what it changes
                count = max(1, count - 1)
                for one in watching:
                    one.keep()
            drawn = {seed: batches.take(count) for seed, batches in self.batches.items()}
            steps = len(next(iter(drawn.values())))
            chunk = self.recorded.chunk(list(drawn.values())) if self.recorded else []
            for step in range(steps):
                self.spent += 1
                for each in filter(_trains, self.trainings):
                    each.spent = each.result.gradient_evaluations = self.spent
                if self.recorded is None:
                    self._pass({seed: batches[step] for seed, batches in drawn.items()})
                else:
                    self.recorded(chunk[step])
                if self.recorded is None or not self.recorded.inside:
                    self._update()

    def row(self, training: Training) -> Tensor:
        """Return a copy of a trial's parameters as they lie in its row."""
        return self.rows.values[self.trainings.index(training)].clone()

    def _pass(self, batches: dict[int, Batch]) -> None:
        """Put the gradients on a batch of each seed into their places."""
        for (_, go), tensors in zip(self.blocks, self._given(batches), strict=True):
            go(*tensors)

    def _given(self, batches: dict[int, Batch]) -> Iterator[Given]:
        """Yield what each block's pass works on."""
        size = len(next(iter(batches.values()))[0])
        whole = {seed: filled(batch) for seed, batch in batches.items()}
        for part, _ in self.blocks:
            yield given([whole[seed] for seed in self.seeds[part]], size, self.rows.values)

    def _update(self) -> None:
        """Step the optimizers."""
        for owner, schedules in self.owners:
            members = [self.trainings[row] for row in owner.members]
            if training := list(filter(_trains, members)):
                _try(training, owner.step, *[each.step for each in schedules])

    def _share(self) -> list[Owner]:
        """Give each run of rows of equal hyperparameters an optimizer."""
        factory = resolve(self.trial.optimizer or "")
        found: list[Owner] = []
        start = 0
        for _, group in groupby(self.trainings, key=_rates):
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
        """Let trials that have ended leave; return whether none is left."""
        if not ended:
            return False
        for row in ended:
            self.live[row] = False
        if self.keeps_places:
            return not any(self.live)
        left = [row for row, live in enumerate(self.live) if live]
        if not left:
            return True
        if len(left) == 1:  # keep it company
            other = next(row for row in range(len(self.live)) if row not in left)
            left = sorted([*left, other])
        if len(left) == len(self.trainings):
            return False
        self.rows.keep(left)
        for owner, _ in self.owners:
            owner.keep(self.rows, left)
        self.owners = [(owner, each) for owner, each in self.owners if owner.members]
        self.trainings = [self.trainings[row] for row in left]
        self.live = [self.live[row] for row in left]
        self._bind()
        return False

    def _parts(self) -> list[slice]:
        """Cut the rows into blocks: what a CPU's cache holds; on an accelerator all are one."""
        if accelerated(self.rows.values.device):
            return [slice(0, len(self.trainings))]
        return blocks(len(self.trainings), largest(self.trainings[0]))

    def _bind(self) -> None:
        """Make the blocks' forward passes anew."""
        self.seeds = [training.trial.seed for training in self.trainings]
        self.batches = {seed: self.batches[seed] for seed in dict.fromkeys(self.seeds)}
        self.blocks: list[tuple[slice, Pass]] = [
            (part, block_pass(self.scenario, self.rows, part)) for part in self._parts()
        ]


def _trains(training: Training) -> bool:
    return training.result.status is Status.UNSOLVED


def _try(trainings: list[Training], *calls: Callable[[], object]) -> None:
    """Call one after another; what is raised ends these trials, as it would end them alone."""
    try:
        for call in calls:
            call()
    except UnstackableError:
        raise
    except UnsupportedError as error:
        for training in trainings:
            training.result.status, training.result.reason = Status.UNSUPPORTED, str(error)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        for training in trainings:
            training.result.status, training.result.reason = Status.CRASHED, one_line(error)


def _rates(training: Training) -> list[tuple[str, str]]:
    return sorted((name, repr(value)) for name, value in training.trial.hyperparameters.items())
