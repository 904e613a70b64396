"""What one node is doing right now, folded from its events as they come in."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from edgenet.results.events import Event

STATES = {
    "compute": "computing",
    "evaluate": "evaluating",
    "idle": "slowed",
    "send": "sending",
    "wait": "waiting",
}
"""Kind of span -> state of a node; of several open spans the first in this order counts."""

_GONE = {"lost": "lost", "silent": "frozen"}
_MEMORY_S = 1.0
"""A state is the kind of span that took most of about the last second."""
_WINDOW_S = 3.0
"""Throughput is the mean over the last seconds, or since the last reading where they are rarer."""
_TICK_S = 0.2
"""`traffic` events of all peers that come within this time are one reading."""


@dataclass
class NodeWatch:
    """One node as it is now."""

    name: str
    role: str = ""
    device: str = ""
    round: int = 0
    rss_bytes: int | None = None
    cpu_share: float | None = None
    """CPU seconds per second, between its last two readings."""
    _settled: str = ""
    _paused: bool = False
    _started: bool = False
    _weights: dict[str, float] = field(default_factory=dict)
    _spanned_s: float = 0.0
    _doing: tuple[float, str] = (0.0, "")
    _cpu: tuple[float, float] | None = None
    _traffic: dict[str, tuple[int, int]] = field(default_factory=dict)
    _totals: deque[tuple[float, int, int]] = field(default_factory=deque)

    @property
    def state(self) -> str:
        """starting, connecting, computing, slowed, sending, waiting, evaluating, paused, lost,
        frozen, or what its end said: done, failed, interrupted."""
        if self._paused and self._settled in ("", "frozen"):
            return "paused"
        if self._settled:
            return self._settled
        if not self._started:
            return "starting"
        if self.round == 0:
            return "connecting"
        since, kind = self._doing
        if not kind or since < self._spanned_s:
            kind = self._commonest()
        return STATES.get(kind, kind)

    def _commonest(self) -> str:
        """The kind of span that lately took most; a slow-down is a part of the computing."""
        weights = dict(self._weights)
        slowed = weights.pop("idle", 0.0)
        computed = weights.get("compute", 0.0)
        if slowed:
            weights["compute"] = computed + slowed
        kind = max(weights, key=lambda kind: weights[kind], default="wait")
        return "idle" if kind == "compute" and slowed > computed else kind

    @property
    def gone(self) -> bool:
        """Whether it has ended, in whatever way."""
        return bool(self._settled)

    def rates(self, now: float) -> tuple[float, float]:
        """Bytes a second (out, in) over the last seconds before `now` (epoch seconds)."""
        if self.gone or len(self._totals) < 2:
            return 0.0, 0.0
        (start, out_, in_), (end, out_now, in_now) = self._totals[0], self._totals[-1]
        took_s = max(end - start, _TICK_S)
        if now - end > max(_WINDOW_S, 2 * took_s):
            return 0.0, 0.0
        return (out_now - out_) / took_s, (in_now - in_) / took_s

    def lose(self, what: str) -> None:
        """A peer says that this node is gone."""
        if not self._settled and what in _GONE:
            self._settled = _GONE[what]

    def told(self, what: str) -> None:
        """A person has paused it, had it go on, or killed it."""
        if what == "kill":
            self.lose("lost")
        elif what in ("pause", "continue"):
            self._paused = what == "pause"
            if self._settled == "frozen":
                self._settled = ""

    def add(self, event: Event) -> None:
        """Take in one of its events."""
        self.round = max(self.round, event.round)
        match event.name:
            case "start":
                self._start(event)
            case "resumed":
                self.round = event.count("after")
            case "span":
                self._span(event)
            case "doing":
                open_kinds = event.names("k")
                kind = next((kind for kind in STATES if kind in open_kinds), "wait")
                self._doing = (event.t, kind)
            case "traffic":
                self._count(event)
            case "resources":
                self._resources(event)
            case "end":
                self._settled = event.text("status", "done")

    def _start(self, event: Event) -> None:
        self.role = event.text("role", self.role)
        self.device = event.text("device", self.device)
        self._started, self._settled, self._cpu = True, "", (event.t, 0.0)
        self._traffic.clear()
        self._totals = deque([(event.t, 0, 0)])

    def _span(self, event: Event) -> None:
        took_s, kind = event.number("d") or 0.0, event.text("k")
        end = event.t + took_s
        fade = math.exp(-max(0.0, end - self._spanned_s) / _MEMORY_S)
        for known in self._weights:
            self._weights[known] *= fade
        self._weights[kind] = self._weights.get(kind, 0.0) + min(took_s, _MEMORY_S)
        self._spanned_s = max(self._spanned_s, end)

    def _count(self, event: Event) -> None:
        self._traffic[event.text("peer")] = (event.count("out"), event.count("in"))
        out_ = sum(pair[0] for pair in self._traffic.values())
        in_ = sum(pair[1] for pair in self._traffic.values())
        t = event.t
        same_tick = len(self._totals) > 1 and t - self._totals[-1][0] < _TICK_S
        if same_tick:
            t = self._totals.pop()[0]
        self._totals.append((t, out_, in_))
        while len(self._totals) > 2 and self._totals[0][0] < t - _WINDOW_S:
            self._totals.popleft()

    def _resources(self, event: Event) -> None:
        self.rss_bytes = event.count("rss_bytes") or self.rss_bytes
        cpu_s = event.number("cpu_s")
        if cpu_s is None:
            return
        if self._cpu is not None and event.t - self._cpu[0] > 0.2:
            self.cpu_share = max(0.0, (cpu_s - self._cpu[1]) / (event.t - self._cpu[0]))
        self._cpu = (event.t, cpu_s)
