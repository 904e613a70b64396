"""What the links of a topology do at any time of a run: events, fading and traces.

A pure function of the topology and the time, so every process of a run knows the same, and nobody
has to be told; only what a person orders during a run comes in as it goes on. Time counts in
seconds from the moment at which all nodes have joined; before it (at negative times) links are as
the topology says, a trace at its mean rate, fading at Eq. (3)'s.
"""

from __future__ import annotations

import dataclasses
import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgenet.channels.lte import faded_rate_bps
from edgenet.channels.orders import Orders
from edgenet.channels.paths import cell_of, channel, compose, distance_m, way_of
from edgenet.channels.recorded import rates_bps
from edgenet.errors import TopologyError
from edgenet.topology.comings import COMINGS
from edgenet.topology.events import ON_LINKS
from edgenet.topology.graph import route
from edgenet.topology.spec import Channel, LinkSpec, TimedEvent, Topology, Trace
from edgenet.topology.traces import LEAST_BPS

BEFORE = -1.0
"""A time before training starts."""

_ROUNDING = 1e-6  # parts of an interval: 3 x 0.1 s belongs to the fourth

Rate = Callable[[int, str, str, Topology], float]
"""(number of the interval, source, target, topology with today's positions) -> bits per second."""


class Timeline:
    """A topology's links over time.

    Args:
        topology: whose links.
        orders: what is ordered while the run goes on; None: nothing ever is.
    """

    def __init__(self, topology: Topology, orders: Orders | None = None) -> None:
        self.topology, self._orders = topology, orders
        self.version = 0
        """Rises with every order."""
        self._links = {link.name: link for link in topology.links}
        self._moves: list[tuple[float, Topology]] = []
        self._events = self._read_events()
        self._rates: dict[tuple[str, str], tuple[float, Rate]] = {}
        for link in topology.links:
            self._rates |= {(link.name, way): found for way, found in _followed(link, topology)}
        events = [event for event in topology.events if event.kind not in COMINGS]
        self.times = tuple(sorted({event.at_s for event in events}))
        """When the topology's events happen to links and devices."""

    def look(self) -> None:
        """Take in what was ordered meanwhile."""
        if self._orders is not None:
            for event in self._orders.new():
                self.add(event)

    def add(self, event: TimedEvent) -> None:
        """Take in one more event, later than all that a link has had so far."""
        self._events = {
            **self._events,
            event.target: [*self._events.get(event.target, ()), event],
        }
        self.times = tuple(sorted({*self.times, event.at_s}))
        self.version += 1

    @property
    def live(self) -> tuple[str, ...]:
        """Names of the links that are not the same all the time, in file order."""
        following = {name for name, _ in self._rates}
        moving = {event.target for event in self.topology.events if event.kind == "move"}
        return tuple(
            link.name
            for link in self.topology.links
            if link.name in self._events
            or link.name in following
            or (link.profile == "lte" and moving & {*link.ends, link.base})
        )

    def channel(self, link: str, source: str, target: str, at_s: float) -> Channel:
        """What a link does to bytes from `source` to `target`; loss 1 means that it is cut."""
        spec = self._links[link]
        today = self._positions(at_s)
        found = channel(spec, source, target, today)
        followed = self._rates.get((link, way_of(spec, source, target)))
        if followed is not None and at_s >= 0:
            interval_s, rate = followed
            number = int(at_s / interval_s + _ROUNDING)
            found = dataclasses.replace(found, rate_bps=rate(number, source, target, today))
        return self._altered(found, link, source, target, at_s)

    def after(self, at_s: float, links: Iterable[str] | None = None) -> float:
        """The first time after `at_s` at which something may change (on one of `links`, or at
        all); inf if nothing ever does."""
        named = None if links is None else set(links)
        times = list(self.times[bisect_right(self.times, at_s) :][:1])
        for (name, _), (interval_s, _) in self._rates.items():
            if named is None or name in named:
                step = int(at_s / interval_s + _ROUNDING) if at_s >= 0 else -1
                times.append((step + 1) * interval_s)
        return min(times, default=math.inf)

    def course(self, a: str, b: str) -> Course:
        """The whole way from `a` to `b` over time. Raises TopologyError if there is none."""
        return Course(self, a, b)

    def _positions(self, at_s: float) -> Topology:
        number = bisect_right(self._moves, at_s, key=lambda move: move[0])
        return self._moves[number - 1][1] if number else self.topology

    def _read_events(self) -> dict[str, list[TimedEvent]]:
        """{link: its events in order of time}; notes the moves, too."""
        today, found = self.topology, dict[str, list[TimedEvent]]()
        for event in sorted(self.topology.events, key=lambda event: event.at_s):
            if event.kind == "move":
                today = _moved(today, event)
                self._moves.append((event.at_s, today))
            elif event.kind in ON_LINKS and event.target in self._links:
                found.setdefault(event.target, []).append(event)
        return found

    def _altered(self, found: Channel, link: str, source: str, target: str, at_s: float) -> Channel:
        """`found` after all events up to now."""
        changes: dict[str, Any] = {}
        cut = False
        for event in self._events.get(link, ()):
            if event.at_s > at_s:
                break
            if event.nodes and not {source, target} & set(event.nodes):
                continue
            cut = (cut or event.kind == "cut") and event.kind != "restore"
            if event.kind == "restore":
                changes = {}
            elif event.kind == "degrade":
                changes = _degraded(changes, event.settings)
        factor = changes.pop("factor", 1.0)
        if "rate_bps" not in changes and factor != 1.0:
            changes["rate_bps"] = max(1.0, found.rate_bps * factor)
        if cut:
            changes["loss"] = 1.0
        return dataclasses.replace(found, **changes) if changes else found


class Course:
    """The way from one node to another over time; remembers what it does now.

    Args:
        timeline: of the topology.
        a: where it starts.
        b: where it ends.

    Raises:
        TopologyError: nothing joins them.
    """

    def __init__(self, timeline: Timeline, a: str, b: str) -> None:
        hops = route(timeline.topology, a, b)
        if hops is None:
            raise TopologyError(
                f"{timeline.topology.where('links')}: node '{a}' does not reach node '{b}'; add a "
                "link between them, or through others"
            )
        self._timeline, self._hops = timeline, hops
        self._live = self._changing()
        # since, until, of which version of the timeline; replaced as a whole (threads)
        self._now = math.inf, math.inf, Channel(), timeline.version

    def at(self, time_s: float) -> tuple[Channel, float]:
        """What the way does at this time, and until when it goes on doing so."""
        line, hops = self._timeline, self._hops
        line.look()
        since, until, channel, version = self._now
        if version != line.version:
            since, version, self._live = math.inf, line.version, self._changing()
        if not since <= time_s < until:
            channel = compose(line.channel(h.link, h.source, h.target, time_s) for h in hops)
            until = line.after(time_s, self._live) if self._live else math.inf
            self._now = time_s, until, channel, version
        return channel, until

    def _changing(self) -> set[str]:
        """Names of the links on the way that are not the same all the time."""
        return {hop.link for hop in self._hops} & set(self._timeline.live)


def check(topology: Topology) -> None:
    """Builds the channels of every link as they are after each event, so that each mistake shows.

    Raises:
        TopologyError: 'file:line', and what is wrong.
    """
    timeline = Timeline(topology)
    links = {link.name: link for link in topology.links}
    for number, event in enumerate(topology.events):
        if event.kind != "degrade" or "factor" not in event.settings:
            continue
        link = links[event.target]
        ends = (link.ends[0], link.base or link.ends[1])
        if any(math.isinf(timeline.channel(link.name, *way, BEFORE).rate_bps)
               for way in (ends, ends[::-1])):  # fmt: skip
            raise TopologyError(
                f"{topology.where(f'events.{number}.factor')}: event {number + 1} takes a factor "
                f"of the rate of link '{link.name}', which is unlimited; give the link a rate"
            )


def _degraded(changes: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A later rate replaces an earlier factor, and the other way round."""
    rivals = {"rate_bps": "factor", "factor": "rate_bps"}
    dropped = {rivals[key] for key in settings if key in rivals}
    return {key: value for key, value in changes.items() if key not in dropped} | dict(settings)


def _moved(topology: Topology, event: TimedEvent) -> Topology:
    nodes = tuple(
        dataclasses.replace(node, at=event.settings["to"]) if node.name == event.target else node
        for node in topology.nodes
    )
    return dataclasses.replace(topology, nodes=nodes)


def _followed(link: LinkSpec, topology: Topology) -> list[tuple[str, tuple[float, Rate]]]:
    """(way, (length of an interval, its rate)) of the ways whose rate follows something."""
    if link.profile == "trace":
        traces: Mapping[str, Trace] = link.options["trace"]
        return [(way, (trace.interval_s, _recorded(trace))) for way, trace in traces.items()]
    if link.options.get("fading_s"):
        interval_s = link.options["fading_s"]
        return [(way, (interval_s, _faded(link, topology.seed))) for way in ("up", "down")]
    return []


def _recorded(trace: Trace) -> Rate:
    rates = rates_bps(trace)
    return lambda number, source, target, topology: rates[number % len(rates)]


def _faded(link: LinkSpec, seed: int) -> Rate:
    """Eq. (3) without its expectation: o is drawn anew in each interval, for each member and each
    direction by itself."""

    def rate(number: int, source: str, target: str, topology: Topology) -> float:
        draw = random.Random(f"{seed}/fading/{link.name}/{source}/{target}/{number}")
        cell, up = cell_of(link, topology), target == link.base
        away_m = distance_m(link, source, target, topology)
        return max(LEAST_BPS, faded_rate_bps(cell, away_m, draw.expovariate(1.0), up=up))

    return rate
