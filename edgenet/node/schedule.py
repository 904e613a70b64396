"""After which rounds the nodes of a run save themselves: all after the same ones, or no round would
be common.

`faults.checkpoint: k` says it beforehand. Without it the node of rank 0 decides as the run goes on,
and announces each round before it begins (`meters.checkpoints.Notice`); no node can be ahead of it
by a round, since rounds are what nodes wait for each other in. It leaves so much time between two
checkpoints that those of all nodes together cost at most a fiftieth of the cores.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgenet.meters.checkpoints import Notice, Shelf
from edgenet.node.plan import Plan

_LEAST_S = 1.0
"""Between two checkpoints: what a run loses at most is not worth more."""
_PART = 1 / 50
_BYTES_PER_S = 5e8
"""So much of a state is copied, packed, digested and written in a second of a core: a guess, until
the first checkpoints tell what they took. Without it they came too early: a run of a few seconds
paid for two of them, and was 7 % longer."""


class Schedule:
    """Which rounds one node saves after.

    Args:
        every: after every so many rounds; None: as is announced.
        notice: where that stands.
        shelves: of all nodes, at the one that decides, its own first; empty at the others.
        clock: seconds.
    """

    def __init__(
        self,
        every: int | None,
        total: int,
        notice: Notice,
        shelves: Sequence[Shelf] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._every, self._total, self._notice = every, total, notice
        self._shelves, self._clock = shelves, clock
        self._began_s = 0.0
        self._due_s: float | None = None
        self._before = self._newest = 0

    @classmethod
    def of(cls, plan: Plan, node: str, run_dir: Path) -> Schedule:
        """That of a node in a run."""
        every, decides = plan.topology.faults.checkpoint, plan.seat(node).rank == 0
        shelves = [Shelf(run_dir, seat.name) for seat in plan.seats if decides]
        return cls(every, plan.topology.train.rounds, Notice(run_dir), shelves)

    def early(self, number: int) -> bool:
        """Whether there are rounds after this one."""
        return 0 < number < self._total

    def due(self, number: int) -> bool:
        """Whether the node is to be saved now that it has done this round."""
        if number >= self._total:
            return False  # the run is over
        if self._every is not None:
            return number % self._every == 0
        return number in self._notice.rounds()

    def passed(self, number: int) -> bool:
        """Whether the others have done a further round, and save a still later one."""
        return max(self._notice.rounds(), default=0) > number + 1

    def began(self, nbytes: Callable[[], int] = lambda: 0) -> None:
        """A round begins here; `nbytes` says how much this node would save. The others are taken to
        save as much each, as long as they have saved nothing."""
        self._began_s = self._clock()
        if self._due_s is None and self._shelves:
            guess_s = len(self._shelves) * nbytes() / _BYTES_PER_S
            self._due_s = self._began_s + max(_LEAST_S, self._pause_s(guess_s))

    def border(self, number: int) -> None:
        """A round is done here: at the node that decides, announce the next one if it is time."""
        if not self._shelves or self._due_s is None:
            return
        if self._every is not None:
            if (number + 1) % self._every == 0:
                self._notice.announce(number + 1)  # for nodes that are left out of it
            return
        now = self._clock()
        then = now + (now - self._began_s)  # when the next round will be done, if it is like this
        if then < self._due_s or then < self._due_s + self._cost_s(number):
            return
        self._notice.announce(number + 1)
        self._before, self._newest, self._due_s = self._newest, number + 1, then + _LEAST_S

    def _cost_s(self, number: int) -> float:
        """How much longer to wait for what the last checkpoints took that are written."""
        # What is saved just now cannot be there yet; if more is missing, writing takes its time.
        needed = self._before if number == self._newest else self._newest
        if self._newest and not self._shelves[0].path(needed).exists():
            return math.inf
        spent_s = sum(shelf.seconds(max(shelf.rounds(), default=0)) for shelf in self._shelves)
        return max(0.0, self._pause_s(spent_s) - _LEAST_S)

    def _pause_s(self, spent_s: float) -> float:
        """Seconds between two checkpoints that take all nodes together `spent_s` of a core."""
        return spent_s / min(len(self._shelves), os.cpu_count() or 1) / _PART
