"""Walking through a timetable: when everything happens, and whether it can happen at all. No torch.

Links carry messages in their order, a stage answers its forwards in their order, and it waits where
it stands in its timetable. So a timetable can go wrong in three ways: stages wait for each other, a
message comes that another action is waiting for, or an action uses weights that are not there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from edgenet.errors import InputError
from edgenet.schemes.timetable import (
    BACKWARD,
    FORWARD,
    UPDATE,
    Action,
    Timetable,
    spread,
    timetable,
)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What everything takes. Lists have an entry per stage, or per hop between two of them."""

    forward_s: Sequence[float]
    backward_s: Sequence[float]
    update_s: Sequence[float]
    send_s: Sequence[float]
    """A hop's transmitter is busy so long with one message, in either direction."""
    delay_s: Sequence[float]
    """... which arrives so much later at the other end."""

    @staticmethod
    def units(stages: int) -> Costs:
        """One for every action, nothing for a message."""
        one, none = (1.0,) * stages, (0.0,) * (stages - 1)
        return Costs(forward_s=one, backward_s=one, update_s=one, send_s=none, delay_s=none)

    def of(self, stage: int, verb: str) -> float:
        """Seconds of one action at a stage (from 0)."""
        by_verb = {FORWARD: self.forward_s, BACKWARD: self.backward_s, UPDATE: self.update_s}
        return by_verb[verb][stage]


def times(table: Timetable, costs: Costs | None = None) -> list[list[float]]:
    """Start of every action, in seconds from the first, stage by stage.

    Raises:
        InputError: the timetable cannot be carried out; the text shows it with the place marked.
    """
    return _Walk(table, costs or Costs.units(len(table.stages))).run()


def length_s(table: Timetable, costs: Costs) -> float:
    """Seconds until the last stage to end has ended."""
    starts = times(table, costs)
    return max(
        start + costs.of(n, table.stages[n][i].verb)
        for n, column in enumerate(starts)
        for i, start in enumerate(column)
    )


class _Walk:
    """Carries a timetable out in thought: every stage goes on until it has to wait."""

    def __init__(self, table: Timetable, costs: Costs) -> None:
        count = len(table.stages)
        self._table, self._costs = table, costs
        self._starts: list[list[float]] = [[] for _ in range(count)]
        self._free_s = [0.0] * count
        hops = range(count - 1)
        self._sent: dict[str, list[deque[tuple[tuple[int, int], float]]]] = {
            verb: [deque() for _ in hops] for verb in (FORWARD, BACKWARD)
        }
        self._line_free_s = {verb: [0.0] * (count - 1) for verb in (FORWARD, BACKWARD)}
        self._weights = [_Versions(table.keeps) for _ in range(count)]

    def run(self) -> list[list[float]]:
        stages = range(len(self._table.stages))
        while True:
            moved = [self._advance(n) for n in stages]
            if not any(moved):
                break
        waiting = [n for n in stages if len(self._starts[n]) < len(self._table.stages[n])]
        if waiting:
            why = "; ".join(self._waits_for(n) for n in waiting)
            raise InputError(self._refusal(f"the stages wait for each other: {why}", waiting))
        return self._starts

    def _advance(self, n: int) -> bool:
        """Carry out what stage n can do now; whether that was anything."""
        begun = len(self._starts[n])
        for action in self._table.stages[n][begun:]:
            came_s = self._receive(n, action)
            if came_s is None:
                break
            wrong = self._weights[n].wrong(action)
            if wrong:
                raise InputError(self._refusal(f"stage {n + 1}: {wrong}", [n]))
            start_s = max(self._free_s[n], came_s)
            self._starts[n].append(start_s)
            self._free_s[n] = start_s + self._costs.of(n, action.verb)
            self._send(n, action)
        return len(self._starts[n]) > begun

    def _hop(self, n: int, action: Action, *, out: bool) -> int | None:
        """The hop that the action's message takes to stage n or leaves it by; None at an end."""
        if action.verb == UPDATE:
            return None
        hop = n if (action.verb == FORWARD) == out else n - 1
        return hop if 0 <= hop < len(self._table.stages) - 1 else None

    def _receive(self, n: int, action: Action) -> float | None:
        """When what the action needs has come; None if it has not been sent."""
        hop = self._hop(n, action, out=False)
        if hop is None:
            return 0.0
        queue = self._sent[action.verb][hop]
        if not queue:
            return None
        unit, came_s = queue[0]
        if unit != action.unit:
            other = Action(action.verb, *unit, action.version)
            raise InputError(
                self._refusal(f"stage {n + 1} is at {action}, but {other} comes first", [n])
            )
        queue.popleft()
        return came_s

    def _send(self, n: int, action: Action) -> None:
        hop = self._hop(n, action, out=True)
        if hop is None:
            return
        line = self._line_free_s[action.verb]
        line[hop] = max(line[hop], self._free_s[n]) + self._costs.send_s[hop]
        arrives_s = line[hop] + self._costs.delay_s[hop]
        self._sent[action.verb][hop].append((action.unit, arrives_s))

    def _waits_for(self, n: int) -> str:
        action = self._table.stages[n][len(self._starts[n])]
        other = n if action.verb == FORWARD else n + 2
        return f"stage {n + 1} at {action} waits for stage {other}"

    def _refusal(self, why: str, marked: Sequence[int]) -> str:
        marks = {n: len(self._starts[n]) for n in marked}
        return f"this timetable cannot be carried out: {why}\n{draw(self._table, marks=marks)}"


class _Versions:
    """Which versions a stage has while it goes through its actions."""

    def __init__(self, keeps: str) -> None:
        self._keeps = keeps
        self._newest = 0
        self._open: deque[Action] = deque()

    def wrong(self, action: Action) -> str:
        """What is wrong with the action, which is then carried out; '' if nothing is."""
        if action.verb == UPDATE:
            self._newest += 1
            wanted = self._newest
            return "" if action.version == wanted else f"{action} makes version {wanted}"
        if action.version > self._newest:
            return f"{action} uses version {action.version}, which is not made yet"
        if action.version not in self._kept():
            return f"{action} uses version {action.version}, which no longer exists"
        if action.verb == FORWARD:
            self._open.append(action)
            return ""
        if not self._open or self._open[0].unit != action.unit:
            return f"{action} does not answer the oldest open forward"
        forward = self._open.popleft()
        if self._keeps != "newest" and forward.version != action.version:
            return f"{action} uses another version than {forward}"
        return ""

    def _kept(self) -> set[int]:
        if self._keeps == "newest":
            return {self._newest}
        if self._keeps == "two":
            return {self._newest - 1, self._newest}
        return {self._newest, *(action.version for action in self._open)}


def draw(
    table: Timetable,
    *,
    starts: Sequence[Sequence[float]] = (),
    marks: dict[int, int] | None = None,
    names: Sequence[str] = (),
) -> str:
    """A row per stage. With `starts` (of units), actions stand in the column of their time; else
    one after the other. `marks`: stage -> number of the action to mark as wrong."""
    marks, starts = marks or {}, starts or [range(len(row)) for row in table.stages]
    names = names or [f"stage {n + 1}" for n in range(len(table.stages))]
    cells = [dict(zip(map(int, at), map(str, row), strict=False))
             for at, row in zip(starts, table.stages, strict=True)]  # fmt: skip
    for n, place in marks.items():
        cells[n][int(starts[n][place])] = f">{table.stages[n][place]}<"
    width = max((len(text) for row in cells for text in row.values()), default=1) + 1
    title = max(map(len, names)) + 2
    last = max((column for row in cells for column in row), default=0)
    lines = []
    for n, row in enumerate(cells):
        text = "".join(row.get(column, ".").ljust(width) for column in range(last + 1))
        lines.append(f"{names[n].ljust(title)}{text}".rstrip(" ."))
        if n in marks:
            lines[-1] += "   <-- here"
    return "\n".join(lines)


def best_windows(scheme_window: int, costs: Costs, batches: int = 24) -> tuple[int, ...]:
    """Windows of the stages for the window `scheme_window` of the first: the largest with which
    an epoch takes no longer (to 2 %) than with the best.

    A stage's window should fill (Example 2), but a stage that waits for its window to fill keeps
    the stage before it from working; how far it may fill depends on what everything takes.
    """
    count = len(costs.forward_s)
    if count == 1:
        return (1,)
    trials = {
        windows: length_s(timetable("pipedream", windows, [1] * batches), costs)
        for windows in _falling(scheme_window, count)
    }
    enough_s = 1.02 * min(trials.values())
    return max(windows for windows, took_s in trials.items() if took_s <= enough_s)


_MOST_TRIALS = 400
"""Each takes about a millisecond."""


def _falling(first: int, count: int) -> list[tuple[int, ...]]:
    """Every way to fall from `first` to 1 at the last of `count` stages; with many of them, only
    those that fall in even steps."""
    rows: list[tuple[int, ...]] = [(first,)]
    for _ in range(count - 2):
        rows = [(*row, w) for row in rows for w in range(1, row[-1] + 1)]
        if len(rows) > _MOST_TRIALS:
            return [spread(count, first), (*(first,) * (count - 1), 1)]
    return [(*row, 1) for row in rows]
