"""The order of work of a pipeline as data: which stage does what, one after the other. No torch.

Symbols. Stages n = 1 .. N, mini-batches k = 1 .. K, window m, and w_n, the window of stage n: how
many mini-batches it has sent on whose errors have not come back. An action is a forward F, a
backward B or an update U of one mini-batch (or of one of its micro-batches, F3.2). What it does
to weight versions stands in it: version t is the weights after t updates, a forward and a backward
*use* a version, an update *makes* one.

Sliding window (Li et al., "Model-distributed DNN training for memory-constrained edge computing
devices", Example 2), at each stage:

    F_1 .. F_w use version 0;  then for k = 1, 2, ...:  B_k, U_k makes version k, F_(k+w) uses it

so F_k uses version max(0, k - w), and B_k the version that F_k used. The last stage, which
computes the loss, gets the error at once: its window is 1. `model-parallel` is the window 1.
`greedy` has the same order, but B_k uses whatever is newest. `gpipe` (Huang et al. 2019) and `1f1b`
cut a mini-batch into m micro-batches and empty the pipeline before each update. `pipedream-2bw`
(Narayanan et al. 2021, sec. 3.1) cuts it, too, but goes on: all micro-batches of k use version
k - 2, so that two versions do at any stage. Its window fills as far as there are two mini-batches
to fill it with: none begins before the version that it uses is made. With windows of 1 nothing is
under way when a version is made, and k uses version k - 1.

The paper's workers take what comes first; here the order is fixed beforehand, so that a run can be
repeated: versions follow from the numbers, not from the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

FORWARD, BACKWARD, UPDATE = "F", "B", "U"


class Action(NamedTuple):
    """One thing that a stage does."""

    verb: str
    """F, B or U."""
    batch: int
    """Mini-batch k, from 1."""
    part: int
    """Micro-batch of it, from 1; 0 = the whole mini-batch."""
    version: int
    """The version that is used (F, B) or made (U): the weights after so many updates."""

    @property
    def unit(self) -> tuple[int, int]:
        """(mini-batch, micro-batch): what travels."""
        return self.batch, self.part

    def __str__(self) -> str:
        part = f".{self.part}" if self.part else ""
        return f"{self.verb}{self.batch}{part}:{self.version}"


@dataclass(frozen=True)
class Timetable:
    """What every stage does, in its order. str(action) is 'F3:1': forward 3 with version 1."""

    stages: tuple[tuple[Action, ...], ...]
    windows: tuple[int, ...]
    """w_n: open forwards that each stage has at most."""
    keeps: str = "needed"
    """Versions that stay: 'needed' (by an open forward, and the newest), 'two' (the newest two), or
    'newest' alone, in which case a backward may use another version than its forward."""

    def live(self, stage: int) -> int:
        """Versions that stage `stage` (from 0) needs at once, at most."""
        if self.keeps == "newest":
            return 1
        return 1 + max((older for _, older, _ in self.states(stage)), default=0)

    def states(self, stage: int) -> Iterator[tuple[int, int, int]]:
        """(open forwards, versions that they need beside the newest, updates between the oldest of
        these and the newest) at each backward of a stage: it holds the most then."""
        newest, open_ = 0, list[int]()
        for action in self.stages[stage]:
            if action.verb == FORWARD:
                open_.append(action.version)
            elif action.verb == UPDATE:
                newest = action.version
            else:
                needed = {newest, *open_}
                yield len(open_), len(needed) - 1, newest - min(needed)
                open_.pop(0)


def urgent(order: Sequence[Action]) -> frozenset[tuple[int, int]]:
    """Units whose error the stage before waits for with nothing else to do: that of the last
    backward before each update. `order` is a stage's row."""
    pairs = pairwise(order)
    return frozenset(a.unit for a, b in pairs if a.verb == BACKWARD and b.verb == UPDATE)


SLIDING = ("model-parallel", "pipedream", "greedy", "mcpipe", "mcpipe-adaptive")
"""Schemes with one update per mini-batch and mini-batches of several versions under way."""
FLUSHING = ("gpipe", "1f1b")
"""Schemes that empty the pipeline before each update."""
SPLITTING = (*FLUSHING, "pipedream-2bw")
"""Schemes that cut a mini-batch into micro-batches; `window` is their number."""


def spread(stages: int, window: int) -> tuple[int, ...]:
    """w_n from `window` at the first stage down to 1 at the last, evenly: with a window of N it is
    PipeDream's N - n + 1 (Harlap et al. 2018, sec. 3.2)."""
    if stages == 1:
        return (1,)
    return tuple(1 + -(-(window - 1) * (stages - 1 - n) // (stages - 1)) for n in range(stages))


def timetable(scheme: str, windows: Sequence[int], parts: Sequence[int]) -> Timetable:
    """The timetable of `scheme` (one of SLIDING or SPLITTING).

    Args:
        scheme: its name.
        windows: w_n of each stage; the flushing schemes have orders of their own.
        parts: how many micro-batches each mini-batch is cut into; under SLIDING all 1.
    """
    count = len(windows)
    if scheme == "gpipe":
        windows = [max(parts, default=1)] * count
    if scheme == "1f1b":
        windows = [min(count - n, max(parts, default=1)) for n in range(count)]
    if scheme in SPLITTING:
        doubled = scheme == "pipedream-2bw"
        delay = 1 if doubled and max(windows) > 1 else 0
        stages = [list(_splitting(parts, most, delay)) for most in windows]
        return _table(stages, windows, "two" if doubled else "needed")
    newest = scheme == "greedy"
    stages = [list(sliding(most, len(parts), newest=newest)) for most in windows]
    return _table(stages, windows, "newest" if newest else "needed")


def sliding(window: int, batches: int, *, newest: bool = False) -> Iterator[Action]:
    """Example 2 at one stage: `window` forwards, then B, U, F, B, U, F, ..."""
    for k in range(1, min(window, batches) + 1):
        yield Action(FORWARD, k, 0, 0)
    for k in range(1, batches + 1):
        yield Action(BACKWARD, k, 0, k - 1 if newest else max(0, k - window))
        yield Action(UPDATE, k, 0, k)
        if k + window <= batches:
            yield Action(FORWARD, k + window, 0, k)


def _splitting(parts: Sequence[int], window: int, delay: int) -> Iterator[Action]:
    """A window of micro-batches. Mini-batch k uses version k - 1 - delay (2BW: 1), and is not begun
    before that is made: with a delay of 0 the pipeline runs empty first. Where few parts may use
    the versions that there are, a longer window does not fill."""
    units = [(k, part) for k, count in enumerate(parts, start=1) for part in _numbers(count)]
    sent = made = 0
    for i, (k, part) in enumerate(units):
        for batch, its in units[sent : i + window]:
            version = max(0, batch - 1 - delay)
            if version > made:
                break
            yield Action(FORWARD, batch, its, version)
            sent += 1
        yield Action(BACKWARD, k, part, max(0, k - 1 - delay))
        if part in (0, parts[k - 1]):
            yield Action(UPDATE, k, 0, k)
            made = k


def _numbers(count: int) -> range | tuple[int]:
    return range(1, count + 1) if count > 1 else (0,)


def _table(
    stages: Sequence[Sequence[Action]], windows: Sequence[int], keeps: str = "needed"
) -> Timetable:
    return Timetable(tuple(map(tuple, stages)), tuple(windows), keeps)
