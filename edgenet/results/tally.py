"""One pass over the events of a run: what each node did, and how each round went."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from edgenet.results.events import Event, natural
from edgenet.results.ledger import Ledger


@dataclass
class RoundTally:
    """One round, as one node reported it."""

    number: int
    t: float = 0.0
    """Epoch seconds of its end."""
    wall_s: float = 0.0
    """Seconds since the round before it, or since the node's first act in round 1."""
    fields: dict[str, Any] = field(default_factory=dict)
    """loss, accuracy, active, and the scheme's own."""


@dataclass
class NodeTally:
    """What one node did. A node that was started again goes on in the same tally."""

    name: str
    role: str = ""
    device: str = ""
    slowdown: float = 1.0
    """Seconds its emulated device needs for a second of the host."""
    start_s: float | None = None
    """Epoch seconds of its first event; None if it never wrote one."""
    last_s: float = 0.0
    """Epoch seconds of the end of its latest event."""
    repeats: list[list[float | None]] = field(default_factory=list)
    """For each time that it was resumed: epoch seconds of the end of the last round that counts,
    and of the beginning of the one after it; None before that."""
    spans_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Kind of span -> seconds."""
    slowdown_s: float = 0.0
    """Seconds slept so that the device is as slow as it should be (a part of `idle`)."""
    emulated_s: float | None = None
    """What its work took on the emulated device; None where nothing is emulated, or it was lost."""
    behind_s: float | None = None
    """How much longer it took on this host."""
    evaluate_s: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Round -> seconds of evaluation."""
    cpu_s: float | None = None
    """CPU seconds; None if it never reported its resources."""
    peaks: dict[str, int] = field(default_factory=dict)
    """Largest value of every `*_bytes` field of its `resources` events."""
    status: str | None = None
    """Of its `end` event; None while there is none."""
    error: str = ""
    """Why it failed, in its own words."""
    joined: list[float] = field(default_factory=list)
    """Epoch seconds at which it had all its links: once in each of its lives."""
    rounds: dict[int, RoundTally] = field(default_factory=dict)
    """Round -> its figures, where this node reports rounds."""
    _round_start_s: float | None = None
    sensor: str = ""
    """The host's power sensor; '' where it has none, or the device is emulated."""
    measured_j: float = 0.0
    """Joules by that sensor: the node's part by CPU time."""
    _earlier_cpu_s: float = 0.0
    _earlier_j: float = 0.0
    _earlier_behind_s: float = 0.0
    _earlier_emulated_s: float = 0.0
    _earlier_lives: list[tuple[float, float]] = field(default_factory=list)
    _life_s: float | None = None
    _reported: bool = False

    def add(self, event: Event) -> None:
        """Take in one of its events."""
        if event.name == "start":
            self._start(event)
        self.start_s = event.t if self.start_s is None else min(event.t, self.start_s)
        self._life_s = event.t if self._life_s is None else min(event.t, self._life_s)
        self.last_s = max(self.last_s, event.t)
        match event.name:
            case "joined":
                self.joined.append(event.t)
            case "resumed":
                self._resume(event.count("after"))
            case "span":
                self._span(event)
            case "round":
                self._round(event)
            case "resources":
                self._resources(event)
            case "emulated":
                self.behind_s = self._earlier_behind_s + (event.number("behind_s") or 0.0)
                self.emulated_s = self._earlier_emulated_s + (event.number("device_s") or 0.0)
            case "energy":
                self.sensor = event.text("sensor")
                self.measured_j = self._earlier_j + (event.number("joules") or 0.0)
            case "end":
                self.status = event.text("status", "done")
                self.error = event.text("error")
        if event.round > 0 and not self._reported:
            earlier = event.t if self._round_start_s is None else self._round_start_s
            self._round_start_s = min(event.t, earlier)
            if self.repeats and self.repeats[-1][1] is None:
                self.repeats[-1][1] = self._round_start_s

    @property
    def lives(self) -> list[tuple[float, float]]:
        """Epoch seconds from when to when it was there, each time that it was started."""
        now = [] if self._life_s is None else [(self._life_s, self.last_s)]
        return [*self._earlier_lives, *now]

    def _resume(self, after: int) -> None:
        """What it did after that round is done again."""
        if not self.repeats or self.repeats[-1][1] is not None:
            known, lives = self.rounds.get(after), self.lives
            before_s = known.t if known else lives[-2][0] if len(lives) > 1 else lives[-1][0]
            self.repeats.append([before_s, None])
        for number in [number for number in self.rounds if number > after]:
            del self.rounds[number]
        for number in [number for number in self.evaluate_s if number > after]:
            del self.evaluate_s[number]

    def _start(self, event: Event) -> None:
        self.role = event.text("role", self.role)
        self.device = event.text("device", self.device)
        self.slowdown = event.number("slowdown") or 1.0
        self.status, self.error = None, ""
        self._earlier_cpu_s = self.cpu_s or 0.0
        self._earlier_j = self.measured_j
        self._earlier_behind_s = self.behind_s or 0.0
        self._earlier_emulated_s = self.emulated_s or 0.0
        self._round_start_s, self._reported = None, False
        self._earlier_lives, self._life_s = self.lives, None

    def _span(self, event: Event) -> None:
        took_s, kind = event.number("d") or 0.0, event.text("k")
        self.spans_s[kind] += took_s
        if kind == "idle" and event.text("n") == "slowdown":
            self.slowdown_s += took_s
        if kind == "evaluate":
            self.evaluate_s[event.round] += took_s
        self.last_s = max(self.last_s, event.t + took_s)

    def _round(self, event: Event) -> None:
        figures = self.rounds.setdefault(event.round, RoundTally(event.round))
        before = event.t if self._round_start_s is None else self._round_start_s
        figures.wall_s += event.t - before
        figures.t = event.t
        figures.fields.update(
            (key, value) for key, value in event.fields.items() if key not in ("e", "t", "r")
        )
        self._round_start_s, self._reported = event.t, True

    def _resources(self, event: Event) -> None:
        cpu_s = event.number("cpu_s")
        if cpu_s is not None:
            self.cpu_s = self._earlier_cpu_s + cpu_s
        for key in event.fields:
            if key.endswith("_bytes"):
                self.peaks[key] = max(self.peaks.get(key, 0), event.count(key))

    def peak(self, key: str) -> int | None:
        """Largest value of a `resources` field; None if it was never reported."""
        return self.peaks.get(key)


class Tally:
    """Everything that the tables of a run are made of.

    Args:
        events: of all nodes, each node's in the order in which they were written.
        expected: {name: {role, device}} of the nodes that the run should have (run.json's
            `nodes`); one that never wrote an event is in the tables nevertheless.
        changes: what the launcher made happen to the network.
    """

    def __init__(
        self,
        events: Iterable[Event],
        expected: Mapping[str, Any] | None = None,
        changes: Iterable[Event] = (),
    ) -> None:
        told = list(changes)
        self.changes = [event for event in told if event.name == "change"]
        self.restarts = [event for event in told if event.name == "restarted"]
        self.nodes: dict[str, NodeTally] = {}
        self.ledger = Ledger()
        self.faults: list[Event] = []
        for name, about in (expected or {}).items():
            about = about if isinstance(about, Mapping) else {}
            role, device = about.get("role", ""), about.get("device", "")
            self.nodes[name] = NodeTally(name, str(role), str(device))
        for event in events:
            self._add(event)
        self.faults.sort(key=lambda event: event.t)

    def _add(self, event: Event) -> None:
        if event.node not in self.nodes:
            self.nodes[event.node] = NodeTally(event.node)
        self.nodes[event.node].add(event)
        if event.name == "bytes":
            self.ledger.add(event)
        elif event.name == "resumed":
            self.ledger.repeat(event.node, event.count("after"))
        elif event.name == "fault":
            self.faults.append(event)

    @property
    def start_s(self) -> float:
        """Epoch seconds of the first event of all; 0 where there is none."""
        starts = [node.start_s for node in self.nodes.values() if node.start_s is not None]
        return min(starts, default=0.0)

    @property
    def wall_s(self) -> float:
        """Seconds from the first event of all to the end of the last, without those in which the
        run had stopped."""
        return self.since(max((end for _, end in self._awake), default=0.0))

    def since(self, t: float) -> float:
        """Seconds from the first event of all to the epoch seconds `t`, likewise."""
        return sum(max(0.0, min(t, end) - start) for start, end in self._awake)

    @property
    def lost_s(self) -> float:
        """The part of `wall_s` in which rounds were computed that were computed again, and in which
        the run was started again."""
        reporter = self.reporter
        pairs = [] if reporter is None else reporter.repeats
        now = math.inf
        return sum(self.since(now if end is None else end) - self.since(start or 0.0)
                   for start, end in pairs)  # fmt: skip

    @cached_property
    def _awake(self) -> list[tuple[float, float]]:
        """Epoch seconds from when to when any node was there."""
        found: list[tuple[float, float]] = []
        for start, end in sorted(life for node in self.nodes.values() for life in node.lives):
            if found and start <= found[-1][1]:
                found[-1] = (found[-1][0], max(end, found[-1][1]))
            else:
                found.append((start, end))
        return found

    @property
    def reporter(self) -> NodeTally | None:
        """The node whose `round` events count: the one with the most; None if there are none."""
        candidates = [node for node in self.nodes.values() if node.rounds]
        return max(
            sorted(candidates, key=lambda node: natural(node.name)),
            key=lambda node: len(node.rounds),
            default=None,
        )

    def train_s(self, each: RoundTally) -> float:
        """Seconds of a round without the reporter's evaluation."""
        reporter = self.reporter
        tested_s = 0.0 if reporter is None else reporter.evaluate_s.get(each.number, 0.0)
        return max(0.0, each.wall_s - tested_s)

    @property
    def rounds(self) -> list[RoundTally]:
        """Rounds as the reporter saw them, in order."""
        reporter = self.reporter
        return [] if reporter is None else [reporter.rounds[n] for n in sorted(reporter.rounds)]
