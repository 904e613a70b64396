"""A learner's passes over its shards, timed batch by batch: what c_k is measured by, and how a
learner of `dab-dynamic` sees that it will miss the deadline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from edgenet.models.stage import Stage
from edgenet.schemes.edge_orchestrator import Watch
from edgenet.schemes.local import train_pass
from edgenet.schemes.shards import SentBatches

_PARTS = 4


@dataclass(frozen=True)
class Window:
    """Moments on a learner's clock, in seconds."""

    planned: float = math.inf
    """When the training was to be over."""
    deadline: float = math.inf
    """From when on its update is of no use."""


class Passes:
    """mu passes over the batches of one round (line 21 of Algorithm 1).

    Args:
        batches: a pass of them each time that they are gone through.
        watch: the learner's clock.
        window: with it the training is given up when it cannot be over by the deadline; that is
            asked from the last moment on that is not beyond the plan, when no further batch fits
            before it, so that nobody gives up for a slow start.
    """

    def __init__(self, batches: SentBatches, watch: Watch, window: Window | None = None) -> None:
        self._batches, self._watch, self._window = batches, watch, window or Window()
        self._took: list[float] = []
        self._left = 0

    def train(self, model: Stage, passes: int) -> bool:
        """Train on everything `passes` times; False if that was given up."""
        self._left = passes * len(self._batches)
        for _ in range(passes):
            if not self._hopeless():
                train_pass(model, self._timed())
        return self._left == 0

    @property
    def pass_s(self) -> float:
        """Seconds that a pass takes now: those of the last batches that make one, or, where the
        last of these (a `_PARTS`-th) were slower, of a whole pass as slow as they. A device that
        was slowed down in the middle would else be judged by the mean of two speeds."""
        whole = len(self._batches)
        return whole * max(self._batch_s(whole), self._batch_s(-(-whole // _PARTS)))

    def _batch_s(self, last: int) -> float:
        took = self._took[-last:]
        return sum(took) / max(1, len(took))

    def _timed(self) -> Iterator[tuple[Tensor, Tensor]]:
        before = self._watch.clock()
        for batch in self._batches:
            yield batch
            now = self._watch.clock()
            self._took.append(now - before)
            self._left, before = self._left - 1, now
            if self._hopeless():
                return

    def _hopeless(self) -> bool:
        if self._left == 0 or not self._took:
            return False
        now, each_s = self._watch.clock(), self._batch_s(-(-len(self._batches) // _PARTS))
        if now + each_s <= self._window.planned:
            return False
        return now + self._left * each_s > self._window.deadline
