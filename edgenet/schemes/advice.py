"""What would fit where a worker of a pipeline has too little memory: computed, not guessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from edgenet.schemes.cut import HOST_BYTES
from edgenet.schemes.layout import Layout
from edgenet.schemes.room import Room
from edgenet.schemes.timetable import SPLITTING, Timetable, timetable

RUNTIME_BYTES = 230_000_000
"""What a node has resident before it has a model: Python, torch, this package (torch 2, x86)."""
_EXACT = ("mcpipe-adaptive", "mcpipe", "pipedream", "1f1b")
"""Schemes to turn to: the weights of each are those of SGD with known delays."""


def needs(layout: Layout, node: str) -> int:
    """Bytes that a node holds for its part of the model: none where it only owns the data."""
    if node not in layout.workers:
        return 0
    number = layout.workers.index(node)
    if layout.room is None:
        return layout.state_bytes[number]
    return layout.room.needs(layout.scheme, layout.at(number), layout.table, number)


def shortage(layout: Layout, node: str, doing: str, held: str) -> str:
    """What to say when a worker has no memory left."""
    return f"{node} ran out of memory in {doing}: it held {held}; {advise(layout, node)}"


def advise(layout: Layout, node: str) -> str:
    """What would fit where a worker's memory is too small."""
    if node not in layout.workers:
        return "give it less data"
    number = layout.workers.index(node)
    stage = f"stage {number + 1} ({', '.join(layout.names(number))}) under {layout.scheme}"
    if layout.room is None:
        other = "use 1f1b, " if layout.scheme == "gpipe" else ""
        return (
            f"that is {stage}; {other}give the stage fewer layers (train.split) or lower "
            "train.batch"
        )
    return f"that is {stage}, which {_Search(layout, layout.room, number).sentence()}"


@dataclass(frozen=True)
class _Search:
    """For one stage, which must hold less than it did, and no more than its device has."""

    layout: Layout
    room: Room
    number: int

    def sentence(self) -> str:
        """What it takes, and what takes less."""
        memory, now = self.room.memories[self.number], needs(self.layout, self._node)
        said, short = f"takes {_mb(now)}", False
        if memory is not None:
            left, short = max(0, memory - RUNTIME_BYTES), now > memory - RUNTIME_BYTES
            said += f", and Python and torch leave it {_mb(left)} of {_mb(memory)}"
        found = [*self._scheme(), *self._window(), *self._split()] or [*self._all()]
        if found:
            what = "what would fit" if short else "what takes less"
            return f"{said}; {what}: {', or '.join(found)}"
        return (
            f"{said}; no scheme, window or split {'fits' if short else 'takes less'}: lower "
            "train.batch or give it a device with more memory"
        )

    @property
    def _node(self) -> str:
        return self.layout.workers[self.number]

    @property
    def _limits(self) -> list[int]:
        """Bytes that each stage may take; of the one that failed less than it did."""
        limits = [
            HOST_BYTES if size is None else max(1, size - RUNTIME_BYTES)
            for size in self.room.memories
        ]
        less = needs(self.layout, self._node) - 1
        limits[self.number] = max(1, min(limits[self.number], less))
        return limits

    def _scheme(self) -> Iterator[str]:
        """The scheme that takes least, with these layers and windows."""
        n, taken = self.number, dict[str, int]()
        for scheme in _EXACT:
            if scheme != self.layout.scheme:
                order = self._order(scheme)
                taken[scheme] = self.room.needs(scheme, self.layout.at(n), order, n)
        best = min(taken, key=lambda scheme: taken[scheme])
        if taken[best] <= self._limits[n]:
            yield f"train.scheme {best} ({_mb(taken[best])})"

    def _window(self) -> Iterator[str]:
        """The largest window, with this scheme and these layers."""
        scheme, n = self.layout.scheme, self.number
        if scheme in SPLITTING:
            return
        for window in reversed(range(1, max(self.layout.table.windows))):
            taken = self.room.needs(scheme, self.layout.at(n), self._order(scheme, window), n)
            if taken <= self._limits[n]:
                yield f"train.window {window} ({_mb(taken)})"
                return

    def _split(self) -> Iterator[str]:
        """The split under which the fullest device has most room, if all have."""
        starts, taken = self._best(self.layout.scheme, self.layout.table)
        if starts:
            yield f"train.split {self._named(starts)} ({_mb(taken)})"

    def _all(self) -> Iterator[str]:
        """All three at once: one mini-batch at a time, or its samples one after the other."""
        for scheme, window in (("mcpipe-adaptive", 1), ("1f1b", self.room.batch)):
            starts, taken = self._best(scheme, self._order(scheme, window))
            if starts:
                both = f"train.scheme {scheme} with train.window {window}"
                yield f"{both} and train.split {self._named(starts)} ({_mb(taken)})"

    def _best(self, scheme: str, order: Timetable) -> tuple[tuple[int, ...], int]:
        """(starts of the stages, bytes at this one); no starts if nothing fits."""
        limits = self._limits

        @cache
        def fullest(stage: int, end: int) -> tuple[float, tuple[int, ...]]:
            if stage == 0:
                return taken(0, 0, end) / limits[0], (0,)
            return min(
                (max(fullest(stage - 1, at)[0], taken(stage, at, end) / limits[stage]),
                 (*fullest(stage - 1, at)[1], at))
                for at in range(stage, end)
            )  # fmt: skip

        @cache
        def taken(stage: int, start: int, end: int) -> int:
            return self.room.needs(scheme, slice(start, end), order, stage)

        full, starts = fullest(len(limits) - 1, len(self.room.names))
        if full > 1:
            return (), 0
        ends = (*starts[1:], len(self.room.names))
        return starts, taken(self.number, starts[self.number], ends[self.number])

    def _order(self, scheme: str, window: int | None = None) -> Timetable:
        """The timetable of another scheme, or with a shorter window, or in so many parts."""
        layout = self.layout
        windows: Sequence[int] = layout.table.windows
        if layout.scheme in SPLITTING:  # its windows are no other scheme's: take the longest
            windows = [max(layout.parts)] * (len(layout.workers) - 1) + [1]
        most = max(windows) if window is None else window
        windows = [min(each, most) for each in windows]
        part = min(most, self.room.batch) if scheme in SPLITTING else 1
        return timetable(scheme, windows, (part,) * min(len(layout.parts), 3 * most + 2))

    def _named(self, starts: Sequence[int]) -> str:
        return f"[{', '.join(self.room.names[at - 1] for at in starts[1:])}]"


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
