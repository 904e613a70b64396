"""How full each direction of each link is, from the bytes that nodes count once a second."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from edgenet.results.events import Event
from edgenet.results.network import Link, Network
from edgenet.topology.graph import route

Lane = tuple[str, str, str]
"""(link, source, target): one direction of one hop."""

_WINDOW_S = 3.0
_STALE_S = 4.0
"""A flow that was not counted for this long rests."""


class Usage:
    """The flows of a run, and the links that they cross.

    Args:
        links: of run.json.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        self._network = Network(links)
        self._flows: dict[tuple[str, str], deque[tuple[float, int]]] = {}
        self._ways: dict[tuple[str, str], tuple[Lane, ...]] = {}
        self._asked_bps = {
            (way.link, way.source, way.target): way.asked_bps for link in links for way in link.ways
        }
        self._changed: dict[str, _Changed] = {link.name: _Changed() for link in links}

    def add(self, event: Event) -> None:
        """Take in a `traffic` event of a node, or a `change` of the launcher's."""
        if event.name == "traffic":
            readings = self._flows.setdefault((event.node, event.text("peer")), deque())
            readings.append((event.t, event.count("out")))
            while len(readings) > 2 and readings[0][0] < event.t - _WINDOW_S:
                readings.popleft()
        elif event.name == "change" and event.text("target") in self._changed:
            self._changed[event.text("target")].add(event)

    def lanes(self, now: float) -> dict[Lane, float]:
        """Bits per second that cross each lane just now; lanes without traffic are left out."""
        found: dict[Lane, float] = {}
        for (source, target), readings in self._flows.items():
            rate_bps = _rate_bps(readings, now)
            if rate_bps > 0:
                for lane in self._way(source, target):
                    found[lane] = found.get(lane, 0.0) + rate_bps
        return found

    def asked_bps(self, lane: Lane) -> float:
        """What a lane can carry now, as far as it was asked for; inf without a limit."""
        link, source, target = lane
        first = next((bps for key, bps in self._asked_bps.items() if key[0] == link), math.inf)
        asked = self._asked_bps.get(lane, first)
        return self._changed[link].rate_bps(asked, source, target)

    def status(self, link: str) -> tuple[str, str]:
        """('', 'degraded' or 'cut', what happened last in words)."""
        changed = self._changed[link]
        return changed.status, changed.says

    def _way(self, source: str, target: str) -> tuple[Lane, ...]:
        if (source, target) not in self._ways:
            hops = route(self._network, source, target) or ()
            self._ways[source, target] = tuple((h.link, h.source, h.target) for h in hops)
        return self._ways[source, target]


class _Changed:
    """What has happened to one link since the run began."""

    def __init__(self) -> None:
        self.says = ""
        self._cut: set[str] | None = None
        """Nodes that are cut off; empty: all of them; None: nobody is."""
        self._degraded: list[tuple[frozenset[str], dict[str, Any]]] = []

    @property
    def status(self) -> str:
        if self._cut is not None:
            return "cut"
        return "degraded" if self._degraded else ""

    def add(self, event: Event) -> None:
        what, nodes = event.text("what"), event.names("nodes")
        settings = event.fields.get("settings")
        if what == "restore":
            self._cut, self._degraded = None, []
        elif what == "cut":
            self._cut = {*nodes, *(self._cut or ())} if nodes and self._cut != set() else set()
        elif what == "degrade":
            known = settings if isinstance(settings, dict) else {}
            self._degraded.append((frozenset(nodes), known))
        self.says = event.text("says") if self.status else ""

    def rate_bps(self, asked_bps: float, source: str, target: str) -> float:
        """What is left of a lane's rate."""
        here = {source, target}
        if self._cut is not None and (not self._cut or self._cut & here):
            return 0.0
        rate_bps = asked_bps
        for nodes, settings in self._degraded:
            if not nodes or nodes & here:
                factor = settings.get("factor")
                rate_bps = settings.get("rate_bps", asked_bps * factor if factor else rate_bps)
        return rate_bps


def _rate_bps(readings: Sequence[tuple[float, int]], now: float) -> float:
    if len(readings) < 2 or now - readings[-1][0] > _STALE_S:
        return 0.0
    took_s = readings[-1][0] - readings[0][0]
    moved = readings[-1][1] - readings[0][1]
    return 8 * moved / took_s if took_s > 0 and moved > 0 else 0.0
