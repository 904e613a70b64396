"""What a run is doing right now, folded from its events as they come in."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgenet.results.events import Event
from edgenet.results.ledger import APART
from edgenet.results.nodewatch import NodeWatch


def changed(event: Event) -> str:
    """What a `change` event says, and whether a person did it; or that a node was restarted."""
    if event.name == "restarted":
        return f"{event.text('node')} is started again"
    return event.text("says") + (", by hand" if event.text("by") == "hand" else "")


@dataclass(frozen=True)
class RoundWatch:
    """One finished round."""

    number: int
    t: float
    """Epoch seconds of its end."""
    wall_s: float
    loss: float | None
    accuracy: float | None
    active: tuple[str, ...]
    """Names of the peers that took part."""
    with_bytes: bool
    """The reporter wrote the round's bytes down before its end."""


class Watch:
    """The run as it is now.

    Args:
        expected: {name: {role, device}} of the nodes that the run should have.
    """

    def __init__(self, expected: Mapping[str, Any] | None = None) -> None:
        self.nodes: dict[str, NodeWatch] = {}
        self.rounds: list[RoundWatch] = []
        self.faults: list[Event] = []
        """Each by the first node that saw it: every peer of a lost server says so."""
        self.changes: list[Event] = []
        """What the topology, or a person, had happen."""
        self.warnings: list[Event] = []
        """What nodes could not do, although they go on."""
        self._known_faults: set[tuple[str, str, int]] = set()
        self.start_s: float | None = None
        """Epoch seconds of the first event."""
        self.reporter = ""
        """The node whose `round` events count: the first that wrote one."""
        self._latest = 0.0
        self._before: dict[str, tuple[float, float]] = {}
        self._gaps: list[tuple[float, float]] = []
        self._began: dict[str, float] = {}
        """Node -> epoch seconds of its first act in a round since it was started. Not of the first
        that was written: a wait is written when it ends, after what happened meanwhile."""
        self._fresh = True
        self._counted: dict[int, set[str]] = {}
        self._bytes: dict[int, dict[tuple[str, str, str], list[int]]] = {}
        self.expect(expected or {})

    def expect(self, nodes: Mapping[str, Any]) -> None:
        """Add nodes that have not been heard of yet."""
        for name, about in nodes.items():
            about = about if isinstance(about, Mapping) else {}
            role, device = str(about.get("role", "")), str(about.get("device", ""))
            self.nodes.setdefault(name, NodeWatch(name, role, device))

    def since(self, t: float) -> float:
        """Seconds from the first event to the epoch seconds `t`, without those in which the run had
        stopped; 0 before the first."""
        if self.start_s is None:
            return 0.0
        stopped = sum(min(max(0.0, t - end), start - end) for end, start in self._gaps)
        return max(0.0, t - self.start_s - stopped)

    @property
    def current(self) -> int:
        """The round that the run is in; 0 before the first."""
        return max((node.round for node in self.nodes.values()), default=0)

    @property
    def round_s(self) -> float | None:
        """Median of the latest rounds' seconds; None before the first has ended."""
        latest = [each.wall_s for each in self.rounds[-7:]]
        return statistics.median(latest) if latest else None

    def round_bytes(self, number: int) -> int:
        """Bytes of one of the latest rounds, each once, without evaluation; 0 if unknown."""
        return sum(max(ends) for ends in self._bytes.get(number, {}).values())

    def bytes_known(self, each: RoundWatch) -> bool:
        """Whether the reporter has written down a round's bytes; it does so just before the
        `round` event or at the start of the next round."""
        return each.with_bytes or self.nodes[self.reporter].round > each.number

    def forget_bytes(self, before: int) -> None:
        """Drop the bytes of the rounds before this one."""
        for number in [number for number in self._bytes if number < before]:
            del self._bytes[number]
            self._counted.pop(number, None)

    def peers(self, active: tuple[str, ...]) -> int:
        """How many nodes play the roles that the active ones play."""
        roles = {self.nodes[name].role for name in active if name in self.nodes}
        return sum(node.role in roles for node in self.nodes.values())

    def add(self, event: Event) -> None:
        """Take in one event; unknown ones change nothing."""
        self.start_s = event.t if self.start_s is None else min(self.start_s, event.t)
        if event.name == "start":
            self._before[event.node] = self._latest, event.t
            self._began.pop(event.node, None)
        self._latest = max(self._latest, event.t)
        if not event.node:
            self._change(event)
            return
        self.nodes.setdefault(event.node, NodeWatch(event.node)).add(event)
        if event.round > 0:
            began = self._began.get(event.node, event.t)
            self._began[event.node] = min(began, event.t)
        match event.name:
            case "resumed":
                self._resume(event)
            case "round":
                self._round(event)
            case "bytes":
                self._count(event)
            case "fault":
                self._fault(event)
            case "log" if event.text("level") == "warning":
                self.warnings.append(event)

    def _resume(self, event: Event) -> None:
        """What was done after that round is done again; until the first has started nothing ran."""
        after, (end, start) = event.count("after"), self._before.get(event.node, (0.0, 0.0))
        if 0 < end < start:
            self._gaps.append((end, start))
        self.rounds = [each for each in self.rounds if each.number <= after]
        for number in [number for number in self._bytes if number > after]:
            del self._bytes[number]
            self._counted.pop(number, None)
        self._fresh = True

    def _round(self, event: Event) -> None:
        self.reporter = self.reporter or event.node
        if event.node != self.reporter:
            return
        again = bool(self.rounds) and self.rounds[-1].number == event.round
        before = self.rounds.pop() if again else None
        first = self._fresh or not self.rounds
        start, self._fresh = self._began[event.node] if first else self.rounds[-1].t, False
        wall_s = before.wall_s + event.t - before.t if before else event.t - start
        loss, accuracy = event.number("loss"), event.number("accuracy")
        each = RoundWatch(
            number=event.round,
            t=event.t,
            wall_s=wall_s,
            loss=before.loss if before and loss is None else loss,
            accuracy=before.accuracy if before and accuracy is None else accuracy,
            active=event.names("active") or (before.active if before else ()),
            with_bytes=event.node in self._counted.get(event.round, ()),
        )
        self.rounds.append(each)

    def _count(self, event: Event) -> None:
        self._counted.setdefault(event.round, set()).add(event.node)
        kind, sent = event.text("k"), event.text("dir") == "out"
        if kind in APART:
            return
        ends = (event.node, event.text("peer")) if sent else (event.text("peer"), event.node)
        both = self._bytes.setdefault(event.round, {}).setdefault((*ends, kind), [0, 0])
        both[0 if sent else 1] += event.count("payload") + event.count("overhead")

    def _change(self, event: Event) -> None:
        """Of the launcher's journal."""
        if event.name not in ("change", "restarted"):
            return
        self.changes.append(event)
        node = self.nodes.get(event.text("target"))
        if node is not None:
            node.told(event.text("what"))

    def _fault(self, event: Event) -> None:
        fault = (event.text("peer"), event.text("what"), event.round)
        if fault not in self._known_faults:
            self._known_faults.add(fault)
            self.faults.append(event)
        if event.text("peer") in self.nodes:
            self.nodes[event.text("peer")].lose(event.text("what"))
