"""Comparison of a process before and after other people's code has run in it."""

from gradbench.isolation.canary import Fingerprint, difference, train_briefly
from gradbench.isolation.leftovers import Before


class ProcessCheck:
    """The state of this process, and the result of a short training by plain SGD.

    `fingerprint` is that result where it is known already.
    """

    def __init__(self, fingerprint: Fingerprint | None = None) -> None:
        self.fingerprint = train_briefly() if fingerprint is None else fingerprint
        self._before = Before()

    def left(self) -> tuple[list[str], list[str]]:
        """Undo changes where that is possible; return what was undone, and what could not be."""
        undone, stuck = self._before.left()
        different = difference(self.fingerprint, train_briefly())
        return undone, [*stuck, different] if different else stuck
