"""Who reaches whom, and over which links: pure functions on a Topology.

A wire and a switch are one hop; through a medium with a base, member to member is two hops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgenet.devices.radio import RADIOS
from edgenet.topology.spec import Topology


class Joint(Protocol):
    """A link, as far as it joins nodes (topology.spec.LinkSpec, or what a run recorded of it)."""

    @property
    def name(self) -> str:
        """Of the link."""

    @property
    def ends(self) -> tuple[str, ...]:
        """The nodes on it, or the members of a medium."""

    @property
    def base(self) -> str | None:
        """In the middle of a medium; None for a wire or a switch."""


class Joined(Protocol):
    """What has links (topology.spec.Topology)."""

    @property
    def links(self) -> Sequence[Joint]:
        """In file order."""


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One crossing of one link."""

    link: str
    """Name of the link that is crossed."""
    source: str
    """Name of the node it leaves."""
    target: str
    """Name of the node it reaches."""


def hops(topology: Joined, node: str) -> Iterator[Hop]:
    """All hops that leave `node`: links in file order, then nodes in file order."""
    for link in topology.links:
        for target in _across(link, node):
            yield Hop(link=link.name, source=node, target=target)


def neighbours(topology: Joined, node: str) -> tuple[str, ...]:
    """The nodes one hop away, each once, in the order of `hops`."""
    return tuple(dict.fromkeys(hop.target for hop in hops(topology, node)))


def route(topology: Joined, a: str, b: str) -> tuple[Hop, ...] | None:
    """The way from `a` to `b` with the fewest hops; () from a node to itself, None if none exists.

    Of several shortest ways it is the one whose links come first in the file. The way back crosses
    the same number of links, but where there are several ways it may take others.
    """
    came: dict[str, Hop | None] = {a: None}
    waiting = deque([a])
    while waiting and b not in came:
        for hop in hops(topology, waiting.popleft()):
            if hop.target not in came:
                came[hop.target] = hop
                waiting.append(hop.target)
    if b not in came:
        return None
    way: list[Hop] = []
    last = came[b]
    while last is not None:
        way.append(last)
        last = came[last.source]
    return tuple(reversed(way))


def direct(topology: Topology, nodes: Collection[str], a: str, b: str) -> bool:
    """Whether `a` and `b` reach each other, and neither way leads through another of `nodes`."""
    for source, target in ((a, b), (b, a)):
        way = route(topology, source, target)
        if way is None or any(hop.target in nodes and hop.target != target for hop in way):
            return False
    return True


def components(topology: Topology) -> tuple[tuple[str, ...], ...]:
    """The parts of the network that do not reach each other; nodes and parts in file order."""
    part: dict[str, str] = {}
    for node in topology.nodes:
        if node.name not in part:
            for name in _reached(topology, node.name):
                part[name] = node.name
    found: dict[str, list[str]] = {}
    for node in topology.nodes:
        found.setdefault(part[node.name], []).append(node.name)
    return tuple(tuple(names) for names in found.values())


def radio_of(topology: Topology, node: str) -> str | None:
    """The kind of radio (`edgenet.devices.radio`) of a node that is a member of a cell; a cell's
    base is mains-powered and has none to be counted."""
    for link in topology.links:
        if link.profile in RADIOS and node in link.ends and node != link.base:
            return link.profile
    return None


def _reached(topology: Joined, start: str) -> set[str]:
    """All that `start` reaches. A link is crossed once as a whole: linear in the links' ends."""
    seen, waiting = {start}, deque([start])
    links = list(topology.links)
    while waiting:
        node = waiting.popleft()
        touching = [link for link in links if node in link.ends or node == link.base]
        links = [link for link in links if link not in touching]
        for link in touching:
            for name in (*link.ends, *([link.base] if link.base else [])):
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)
    return seen


def _across(link: Joint, node: str) -> Iterator[str]:
    """The nodes that one crossing of `link` reaches from `node`."""
    if node == link.base:
        yield from link.ends
    elif node in link.ends:
        if link.base is not None:
            yield link.base
        else:
            yield from (end for end in link.ends if end != node)
