"""From the links of a topology to channels: of one hop, of a path, and of a pair of nodes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from edgenet.channels.lan import WIFI, ethernet, wifi
from edgenet.channels.lte import Cell, lte
from edgenet.channels.recorded import mean_bps
from edgenet.errors import TopologyError
from edgenet.topology.graph import route
from edgenet.topology.section import choose
from edgenet.topology.spec import Channel, LinkSpec, Topology

_FIELDS = tuple(field.name for field in dataclasses.fields(Channel))
_CELL_FIELDS = tuple(field.name for field in dataclasses.fields(Cell))


def channel(link: LinkSpec, source: str, target: str, topology: Topology) -> Channel:
    """What `link` does to bytes from `source` to `target`, its ends or base.

    Up is towards the base, or from the first to the second end of a wire. Numbers beside a profile
    ({wifi: 802.11n-5GHz, loss: 1 %}) replace the profile's; those under up and down come last.

    Raises:
        TopologyError: an unknown profile, or an LTE node without a position.
    """
    known = _profile(link, source, target, topology)
    given = {**link.options, **link.options.get(way_of(link, source, target), {})}
    changes = {field: given[field] for field in _FIELDS if field in given}
    return dataclasses.replace(known, **changes)


def way_of(link: LinkSpec, source: str, target: str) -> str:
    """'up' or 'down'."""
    up = target == link.base or (link.base is None and source == link.ends[0])
    return "up" if up else "down"


def compose(channels: Iterable[Channel]) -> Channel:
    """Several hops as one: the slowest rate, delays and jitters added, losses combined, the
    smallest queue. No hop at all is an unlimited channel."""
    hops = list(channels)
    if len(hops) < 2:
        return hops[0] if hops else Channel()
    return Channel(
        rate_bps=min(hop.rate_bps for hop in hops),
        delay_s=math.fsum(hop.delay_s for hop in hops),
        jitter_s=math.fsum(hop.jitter_s for hop in hops),
        loss=1 - math.prod(1 - hop.loss for hop in hops),
        queue_bytes=min(hop.queue_bytes for hop in hops),
    )


def between(topology: Topology, a: str, b: str) -> Channel:
    """The channel of the shortest way from `a` to `b`.

    Raises:
        TopologyError: there is no way, or one of its links is faulty.
    """
    way = route(topology, a, b)
    if way is None:
        raise TopologyError(
            f"{topology.where('links')}: node '{a}' does not reach node '{b}'; add a link between "
            "them, or through others"
        )
    links = {link.name: link for link in topology.links}
    return compose(channel(links[hop.link], hop.source, hop.target, topology) for hop in way)


def check(topology: Topology) -> None:
    """Builds the channels of every link once, so that each mistake shows before a run.

    Raises:
        TopologyError: as `channel` does.
    """
    for link in topology.links:
        if link.base is None:
            channel(link, link.ends[0], link.ends[1], topology)
            continue
        for member in link.ends:
            channel(link, member, link.base, topology)
            channel(link, link.base, member, topology)


def half_duplex(link: LinkSpec) -> bool:
    """Whether both directions share one capacity: a WiFi access point; LTE and wires do not."""
    return link.profile == "wifi"


def _profile(link: LinkSpec, source: str, target: str, topology: Topology) -> Channel:
    """The channel of the link's profile, before the numbers beside it."""
    if link.profile == "ethernet":
        return ethernet(link.options["value"])
    if link.profile == "wifi":
        return _wifi(link, topology)
    if link.profile == "lte":
        cell = cell_of(link, topology)
        away_m = distance_m(link, source, target, topology)
        return lte(cell, away_m, up=target == link.base)
    if link.profile == "trace":
        trace = link.options["trace"].get(way_of(link, source, target))
        return Channel() if trace is None else Channel(rate_bps=mean_bps(trace))
    return Channel()


def _wifi(link: LinkSpec, topology: Topology) -> Channel:
    profile = link.options["value"]
    if profile not in WIFI:
        hint = choose(str(profile), "profiles", WIFI)
        raise TopologyError(
            f"{topology.where(f'links.{link.name}.wifi')}: link '{link.name}' has unknown wifi "
            f"profile '{profile}'; {hint}"
        )
    return wifi(profile)


def cell_of(link: LinkSpec, topology: Topology) -> Cell:
    """The cell of an lte link. Raises TopologyError."""
    where = topology.where(f"links.{link.name}.lte")
    if link.base is None:
        raise TopologyError(
            f"{where}: link '{link.name}' is lte without a base; name the node beside the eNB as "
            "its base"
        )
    try:
        given = {field: link.options[field] for field in _CELL_FIELDS if field in link.options}
        return Cell(**given)
    except ValueError as error:
        raise TopologyError(f"{where}: link '{link.name}': {error}") from None


def distance_m(link: LinkSpec, source: str, target: str, topology: Topology) -> float:
    """Between two nodes on an lte link. Raises TopologyError."""
    first, second = topology.node(source), topology.node(target)
    for node in (first, second):
        if node.at is None:
            raise TopologyError(
                f"{topology.where(f'nodes.{node.group}')}: node '{node.name}' has no position, "
                f"which the lte link '{link.name}' needs; give it 'at: [x, y]' or 'place: "
                "{disc: 500 m}'"
            )
    assert first.at is not None
    assert second.at is not None
    return math.dist(first.at, second.at)
