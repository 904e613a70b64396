"""What of a topology a shaping back end builds: lanes and pools. Pure functions.

A lane is one direction of one hop, with its channel. The lanes of a shared medium stand in a pool:
one transmitter at a time, and whoever has had the least time on the air is next. For equal rates
this halves the capacity between two that send together; for unequal ones it is what LTE's
proportionally fair scheduler comes to when nobody fades: each gets its own rate for an equal part
of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgenet.channels import BEFORE, Timeline, half_duplex
from edgenet.topology.spec import Channel, LinkSpec, Topology


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One direction of one hop."""

    link: str
    """Name of the link that is crossed."""
    source: str
    """Name of the node it leaves."""
    target: str
    """Name of the node it reaches."""
    channel: Channel
    """What happens on the way."""
    pool: str | None
    """Name of the shared capacity that it takes from; None = it has its own."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others: (link, source, target)."""
        return self.link, self.source, self.target


def lanes(
    topology: Topology, timeline: Timeline | None = None, at_s: float = BEFORE
) -> tuple[Lane, ...]:
    """Every lane: links in file order; as they are at a time of the timeline, if one is given.

    Raises:
        TopologyError: a channel cannot be computed (an LTE node without a position, ...).
    """
    if timeline is None:
        timeline = Timeline(topology)
    return tuple(
        Lane(
            link=link.name,
            source=source,
            target=target,
            channel=timeline.channel(link.name, source, target, at_s),
            pool=pool_of(link, target),
        )
        for link in topology.links
        for source, target in _hops(link)
    )


def pool_of(link: LinkSpec, target: str) -> str | None:
    """Which capacity a hop of `link` to `target` takes from.

    Full-duplex media (LTE) have one for each direction, 'cell/up' and 'cell/down'; half-duplex
    ones (WiFi), and shared links without a base, have one for all.
    """
    if not link.shared:
        return None
    if half_duplex(link) or link.base is None:
        return link.name
    return f"{link.name}/{'up' if target == link.base else 'down'}"


def _hops(link: LinkSpec) -> Iterator[tuple[str, str]]:
    if link.base is None:
        yield from ((a, b) for a in link.ends for b in link.ends if a != b)
        return
    for member in link.ends:
        yield member, link.base
        yield link.base, member
