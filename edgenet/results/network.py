"""The network of a run as report.html draws and tells it: from run.json's `links` and `probe`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgenet.results import text
from edgenet.topology.draw import shaped
from edgenet.units import format_time


@dataclass(frozen=True)
class Way:
    """One direction between two nodes of a link."""

    link: str
    """Its name in the topology."""
    source: str
    target: str
    asked_bps: float
    """inf = as fast as the host."""
    delay_s: float
    """One way."""


@dataclass(frozen=True)
class Link:
    """A wire, or a medium."""

    name: str
    kind: str
    """As `edgenet check` says it: 'medium', 'wifi 802.11n shared medium', 'ethernet switch'."""
    ends: tuple[str, ...]
    base: str | None
    """In the middle of a medium; None for a wire or a switch."""
    shared: bool
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Network:
    """All links of a run, as `topology.graph.route` takes them."""

    links: Sequence[Link]


@dataclass(frozen=True)
class Measured:
    """A row of the probe's table."""

    source: str
    target: str
    over: str
    """Names of the links on the way."""
    asked_bps: float | None
    """Goodput that the links should reach."""
    found_bps: float | None
    round_trip_asked_s: float | None
    round_trip_s: float | None
    off: tuple[str, ...]
    """What is not as asked."""
    note: str


def links_of(run: Mapping[str, Any]) -> list[Link]:
    """The links in run.json; none where an older edgenet wrote it."""
    found = run.get("links")
    return [_link(each) for each in found] if isinstance(found, list) else []


def _link(about: Mapping[str, Any]) -> Link:
    name = str(about["name"])
    ways = tuple(
        Way(name, way["source"], way["target"], _rate(way["rate_bps"]), way["delay_s"])
        for way in about["ways"]
    )
    ends, base, shared = tuple(about["ends"]), about["base"], about["shared"]
    kind = about.get("kind")
    if kind is None:  # where an older edgenet wrote it
        profile = about["profile"]
        kind = shaped("" if profile == "raw" else profile, ends, base, shared=shared)
    return Link(name, kind, ends, base, shared, ways)


def _rate(value: float | None) -> float:
    return math.inf if value is None else value


def measured_of(run: Mapping[str, Any]) -> list[Measured]:
    """What the probe found; empty where there was none."""
    probe = run.get("probe")
    rows = probe.get("rows") if isinstance(probe, Mapping) else None
    return [_measured(row) for row in rows or ()]


def _measured(row: Mapping[str, Any]) -> Measured:
    asked, found = row.get("asked") or {}, row.get("measured") or {}
    over = row.get("over") or ""
    return Measured(
        source=str(row.get("source")),
        target=str(row.get("target")),
        over=over if isinstance(over, str) else ", ".join(over),
        asked_bps=asked.get("goodput_bps"),
        found_bps=found.get("goodput_bps"),
        round_trip_asked_s=asked.get("round_trip_s"),
        round_trip_s=found.get("round_trip_s"),
        off=tuple(row.get("off") or ()),
        note=str(row.get("note") or ""),
    )


LINK_HEAD = ("link", "kind", "from", "to", "asked rate", "delay")
PROBE_HEAD = (
    "from", "to", "asked goodput", "measured", "round trip asked", "measured", "not as asked",
)  # fmt: skip


def link_rows(links: Sequence[Link]) -> Iterator[tuple[str, ...]]:
    """One row a direction, in the order of LINK_HEAD; members that are alike share one."""
    for link in links:
        alike: dict[tuple[Any, ...], list[Way]] = {}
        for way in link.ways:
            towards = way.target if link.base in (None, way.target) else None
            alike.setdefault((towards, way.asked_bps, way.delay_s), []).append(way)
        for ways in list(alike.values())[: 1 if _switch(link) else None]:
            sources, targets = _names([w.source for w in ways]), _names([w.target for w in ways])
            if _switch(link):
                sources, targets = _names(link.ends), "each other"
            yield (
                link.name, link.kind, sources, targets, rate(ways[0].asked_bps),
                format_time(ways[0].delay_s),
            )  # fmt: skip


def probe_rows(rows: Sequence[Measured]) -> Iterator[tuple[str, ...]]:
    """One row a direction, in the order of PROBE_HEAD."""
    for row in rows:
        yield (
            row.source,
            row.target,
            rate(row.asked_bps),
            rate(row.found_bps),
            _time(row.round_trip_asked_s),
            _time(row.round_trip_s),
            ", ".join(row.off) or row.note or "-",
        )


def _switch(link: Link) -> bool:
    """Whether every end reaches every other in the same way."""
    return link.base is None and len(link.ends) > 2


def _time(value: float | None) -> str:
    return text.MISSING if value is None else f"{1000 * value:.3g} ms"


def _names(names: Sequence[str]) -> str:
    """'cam0', or 'cam0 .. cam4 (5)'."""
    known = list(dict.fromkeys(names))
    return known[0] if len(known) == 1 else f"{known[0]} .. {known[-1]} ({len(known)})"


def rate(value: float | None) -> str:
    """'97.0 Mbit/s' with three figures; '-' where it is not known."""
    if value is None:
        return text.MISSING
    if math.isinf(value):
        return "unlimited"
    unit, factor = unit_of(value)
    return f"{value / factor:.3g} {unit}"


def unit_of(value: float) -> tuple[str, float]:
    """The unit that a rate is told in, and its bits per second."""
    units = (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3))
    return next((each for each in units if value >= 0.9995 * each[1]), ("bit/s", 1.0))
