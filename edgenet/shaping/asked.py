"""What the network was asked to do to the bytes from one node to another: pure functions.

Rates count IP packets. Of a full one (1500 bytes) TCP delivers 1448 to the link above, and for
every second one an acknowledgement (52 bytes) travels back, which takes from the same capacity
where a medium is half duplex. So the goodput that a link can be held to is the rate's 96.5 %, or
94.9 % over WiFi; a capacity that is crossed twice (from member to member of a cell) gives half.
`paced` counts the links' own bytes: there the goodput is the rate.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from edgenet.channels import channel, compose
from edgenet.shaping.lanes import pool_of
from edgenet.topology.graph import Hop, route
from edgenet.topology.spec import Channel, Topology

MTU_BYTES, PAYLOAD_BYTES, ACK_BYTES = 1500, 1448, 52
"""A full IP packet; what TCP delivers of it (IPv4, timestamps); a packet without payload."""
PING_BYTES = 300
"""About what a small message of a link, and its answer, put on the wire: header and padding (128),
gloo's 48 bytes twice, TCP/IP around them."""
KERNEL = ("netem", "relay")
"""Back ends that shape packets."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One direction between two nodes that talk."""

    source: str
    target: str
    over: tuple[str, ...]
    """Names of the links on the way, in order."""
    channel: Channel
    """The hops, composed."""
    goodput_bps: float
    """Bits per second of the link's own bytes; inf = nothing was asked."""
    trip_s: float
    """One way of a small message: delays, and its time on the wire."""
    jitter_s: float
    """Half-width of the delay's variation; hops vary independently of each other."""
    loss: float
    """Probability that a packet is lost."""
    capacities: frozenset[str]
    """What it takes from, with its acknowledgements: two ways that share one disturb each other."""


def asked(topology: Topology, source: str, target: str, back_end: str) -> Asked:
    """What a back end was asked to do to one direction between two nodes that reach each other."""
    there, back = route(topology, source, target), route(topology, target, source)
    if there is None or back is None:
        raise ValueError(f"{source} does not reach {target}")
    hops = [(hop, _channel(topology, hop)) for hop in there]
    whole = compose(each for _, each in hops)
    ways = frozenset(_capacity(topology, hop) for hop in (*there, *back))
    if back_end not in KERNEL:  # each end paces for itself
        ways = frozenset((f"{source}->{target}", f"{target}->{source}"))
    return Asked(
        source=source,
        target=target,
        over=tuple(hop.link for hop in there),
        channel=whole,
        goodput_bps=_goodput_bps(topology, whole, there, back, back_end),
        trip_s=whole.delay_s + sum(8 * PING_BYTES / each.rate_bps for _, each in hops),
        jitter_s=math.hypot(*(each.jitter_s for _, each in hops)),
        loss=whole.loss,
        capacities=ways,
    )


def _goodput_bps(
    topology: Topology,
    whole: Channel,
    there: tuple[Hop, ...],
    back: tuple[Hop, ...],
    back_end: str,
) -> float:
    if back_end == "paced":
        return whole.rate_bps * (1 - whole.loss)  # what is lost is sent again
    if back_end not in KERNEL:
        return math.inf
    busy_s: defaultdict[str, float] = defaultdict(float)  # per bit that is delivered
    for hop in there:
        rate_bps = _channel(topology, hop).rate_bps
        busy_s[_capacity(topology, hop)] += MTU_BYTES / PAYLOAD_BYTES / rate_bps
    for hop in back:
        rate_bps = _channel(topology, hop).rate_bps
        busy_s[_capacity(topology, hop)] += ACK_BYTES / (2 * PAYLOAD_BYTES) / rate_bps
    slowest_s = max(busy_s.values(), default=0.0)
    return 1 / slowest_s if slowest_s > 0 else math.inf


def _channel(topology: Topology, hop: Hop) -> Channel:
    link = next(each for each in topology.links if each.name == hop.link)
    return channel(link, hop.source, hop.target, topology)


def _capacity(topology: Topology, hop: Hop) -> str:
    """The name of what a hop takes from: a medium's pool, or its own lane."""
    link = next(each for each in topology.links if each.name == hop.link)
    return pool_of(link, hop.target) or f"{hop.link} {hop.source}->{hop.target}"


@dataclass(frozen=True, kw_only=True)
class Stream:
    """How one direction is filled to measure its rate."""

    chunk_bytes: int
    """Size of a message."""
    window: int
    """How many messages may be on their way."""
    ramp_s: float
    """From the first arrival: TCP's slow start, which does not count."""
    seconds: float
    """How long messages are sent, the ramp included."""


_CHUNKS = 16  # arrivals to take the rate from
_LEAST_CHUNK, _MOST_CHUNK = 1024, 256 * 1024
_FIRST_WINDOW_BYTES = 10 * PAYLOAD_BYTES  # RFC 6928
_UNLIMITED_BPS = 2e9  # what an unlimited link is taken for
_HOST_S = 2e-3  # of a round trip, the host's own part


def stream(there: Asked, back: Asked, measure_s: float) -> Stream:
    """How to fill a direction.

    Args:
        there: the direction.
        back: the other one, by which acknowledgements come.
        measure_s: seconds to measure for, after the ramp.
    """
    rate_bps = min(there.goodput_bps, _UNLIMITED_BPS)
    if math.isinf(there.goodput_bps):
        rate_bps = min(there.channel.rate_bps, _UNLIMITED_BPS)
    trip_s = there.trip_s + back.trip_s + _HOST_S
    flying = rate_bps / 8 * trip_s
    chunk = int(min(max(rate_bps / 8 * measure_s / _CHUNKS, _LEAST_CHUNK), _MOST_CHUNK))
    doublings = max(0.0, math.log2(max(1.0, flying / _FIRST_WINDOW_BYTES)))
    ramp_s = trip_s * (doublings + 2)
    return Stream(
        chunk_bytes=chunk,
        window=max(8, math.ceil(2.5 * flying / chunk)),
        ramp_s=ramp_s,
        seconds=max(ramp_s + measure_s, 8 * chunk * 8 / rate_bps),
    )


def talks(seats: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Every pair of nodes that has a link, once: the first is the one that comes first.

    Args:
        seats: peers of each node, in rank order.
    """
    done: set[str] = set()
    for node, peers in seats.items():
        done.add(node)
        yield from ((node, peer) for peer in peers if peer not in done)
