"""Devices that change during a run: the topology's `slow` and `free` events, at one node."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable

from edgenet.topology.spec import TimedEvent


class Slowing:
    """How many times slower than its profile a node is just now; ask by calling it.

    Args:
        events: the topology's.
        node: whose device it is.
        started: when the times of the events began (time.monotonic); None before.
        clock: the time now.
    """

    def __init__(
        self,
        events: Iterable[TimedEvent],
        node: str,
        started: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        own = [event for event in events if event.kind in ("slow", "free") and event.target == node]
        own.sort(key=lambda event: event.at_s)
        self._times = [event.at_s for event in own]
        self._factors: list[float] = [1.0, *(event.settings.get("factor", 1.0) for event in own)]
        self._started, self._clock = started, clock

    def __bool__(self) -> bool:
        """Whether the node's speed changes at all during the run."""
        return bool(self._times)

    def __call__(self) -> float:
        """The factor of the newest event that is due; 1 before the first."""
        if not self._times:
            return 1.0
        started = self._started()
        if started is None:
            return 1.0
        return self._factors[bisect_right(self._times, self._clock() - started)]
