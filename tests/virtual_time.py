"""Schemes on clocks of our own: links with a rate, stages with a speed, and no waiting.

Every node has a clock. Work moves its own on; a message takes its bytes over the link's rate and
pulls the receiver's clock to its arrival. So what a role measures is exact and the same in every
run, whatever the machine is busy with.
"""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from edgenet.links.protocol import Item, Kind
from edgenet.models.stage import Stage

PATIENCE_S = 20.0
"""Of the real clock, for a message that should come at once."""


class Node:
    """A clock, and what was noted; stands for `edge_orchestrator.Watch`."""

    def __init__(self, name: str) -> None:
        self.name, self.now = name, 0.0
        self.notes: list[tuple[str, dict[str, Any]]] = []

    def clock(self) -> float:
        return self.now

    def note(self, event: str, **fields: Any) -> None:
        self.notes.append((event, fields))


@dataclass(frozen=True)
class Message:
    """What crossed a link."""

    source: str
    items: tuple[Any, ...]
    kind: Kind
    arrival_s: float


def nbytes(items: Iterable[Any]) -> float:
    """Payload of a message; numbers cost nothing."""
    total = 0
    for item in items:
        tensors = [item] if isinstance(item, Tensor) else item if isinstance(item, list) else []
        total += sum(t.nbytes for t in tensors)
    return total


class End:
    """One end of a link; implements `Link`."""

    def __init__(self, own: Node, peer: str, rate: float, log: list[Message]) -> None:
        self.own, self.node, self.peer = own, own.name, peer
        self.other: End
        self._rate, self._log = rate, log
        self._free_s = 0.0
        self._inbox: queue.Queue[Message] = queue.Queue()
        self._first: Message | None = None
        self.sent: list[Message] = []

    def send(self, *items: Item, kind: Kind = Kind.CONTROL) -> None:
        arrival_s = max(self.own.now, self._free_s) + nbytes(items) / self._rate
        self._free_s = arrival_s
        message = Message(self.node, copy.deepcopy(items), kind, arrival_s)
        self._log.append(message)
        self.sent.append(message)
        self.other._inbox.put(message)

    def peek(self) -> Message:
        """The next message, left where it is."""
        if self._first is None:
            self._first = self._inbox.get(timeout=PATIENCE_S)
        return self._first

    def recv(self, *, timeout_s: float | None = None) -> Any:
        message, self._first = self.peek(), None
        self.own.now = max(self.own.now, message.arrival_s)
        return message.items[0] if len(message.items) == 1 else message.items

    def close(self) -> None:
        """Nothing to do."""


@dataclass
class Star:
    """The orchestrator's links; implements `LinkGroup` as far as these schemes need it."""

    hub: Node
    ends: dict[str, End]
    turns: int = 2
    """Messages that each member is asked for by `recv_any`."""
    late: list[tuple[str, float]] = field(default_factory=list)
    _taken: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.ends)

    def __len__(self) -> int:
        return len(self.ends)

    def admit(self) -> tuple[str, ...]:
        return ()

    def send(self, name: str, *items: Item, kind: Kind = Kind.CONTROL) -> bool:
        self.ends[name].send(*items, kind=kind)
        return True

    def broadcast(
        self, *items: Item, kind: Kind = Kind.CONTROL, to: Iterable[str] | None = None
    ) -> tuple[str, ...]:
        wanted = [name for name in self.ends if to is None or name in set(to)]
        for name in wanted:
            self.ends[name].send(*items, kind=kind)
        return tuple(wanted)

    def gather(
        self, of: Iterable[str] | None = None, *, deadline_s: float | None = None
    ) -> dict[str, Any]:
        limit_s = float("inf") if deadline_s is None else self.hub.now + deadline_s
        named = set(self.ends if of is None else of)
        answers = {}
        late = [name for name in self.ends if name in named and self._arrival(name) > limit_s]
        for name in self.ends:
            if name in named and name not in late:
                answers[name] = self.ends[name].recv()
        if late and deadline_s:
            self.hub.now = limit_s
            self.late += [(name, limit_s) for name in late]
        return answers

    def recv_any(self, *, timeout_s: float | None = None) -> tuple[str, Any]:
        owing = [name for name in self.ends if self._taken.get(name, 0) < self.turns]
        name = min(owing, key=self._arrival)
        self._taken[name] = self._taken.get(name, 0) + 1
        return name, self.ends[name].recv()

    def _arrival(self, name: str) -> float:
        return self.ends[name].peek().arrival_s


def star(hub: Node, learners: Sequence[Node], rate: float) -> tuple[Star, list[End], list[Message]]:
    """The orchestrator's group, each learner's link, and the log of every message."""
    log: list[Message] = []
    ends, others = {}, []
    for node in learners:
        near, far = End(hub, node.name, rate, log), End(node, hub.name, rate, log)
        near.other, far.other = far, near
        ends[node.name] = near
        others.append(far)
    return Star(hub, ends), others, log


class Timed:
    """A stage that really computes, and whose every sample takes `pace(now)` seconds."""

    def __init__(self, stage: Stage, node: Node, pace: Callable[[float], float]) -> None:
        self._stage, self._node, self._pace = stage, node, pace
        self._samples = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def forward(self, x: Tensor) -> Tensor:
        self._samples = len(x)
        return self._stage.forward(x)

    def step(self) -> None:
        self._stage.step()
        self._node.now += self._samples * self._pace(self._node.now)


class Count:
    """Implements `Rounds`; keeps what is reported, with the time."""

    def __init__(self, total: int, node: Node) -> None:
        self._total, self._node = total, node
        self.reports: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[int]:
        for number in range(1, self._total + 1):
            start_s = self._node.now
            yield number
            self.reports[-1]["took_s"] = self._node.now - start_s

    def enter(self, number: int) -> AbstractContextManager[None]:
        """A learner's rounds are counted by the orchestrator."""
        return nullcontext()

    def recall(self, name: str, default: Any = None) -> Any:
        return default

    def remember(self, **values: Any) -> None:
        """Such runs are not resumed."""

    def report(self, **figures: Any) -> None:
        figures["state"] = [t.clone() for t in figures["state"]]
        self.reports.append(figures)

    def due(self) -> bool:
        return False


def together(*bodies: Callable[[], None]) -> None:
    """Run all of them side by side to their end; raises what the first that failed raised."""
    failures: list[BaseException] = []

    def run(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(None if not failures else 0.1)
    if failures:
        raise failures[0]
