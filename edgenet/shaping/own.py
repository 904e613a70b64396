"""Shaping on an interface that is not ours: a board's or a container's own eth0 or wlan0.

What leaves for each peer gets the queue of its way: an htb class with a netem leaf (or, where only
a rate is asked, a fifo). What was there before is remembered and put back (`remembered`). Each end
shapes what it sends; with `ingress` what comes from the peers is queued here too, by an ifb, for
peers that nobody shapes. A peer is reached directly, so its way's hops are one channel.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenet import channels
from edgenet.errors import ShapingError
from edgenet.shaping import calls
from edgenet.shaping.kernel import Kernel
from edgenet.shaping.lanes import pool_of
from edgenet.shaping.qdiscs import delete, queues, restorable, restore
from edgenet.shaping.remembered import Remembered, forget, keep, recall
from edgenet.shaping.traffic import ETHERNET_BYTES, ROOT, At, Key, Traffic
from edgenet.topology.graph import route
from edgenet.topology.spec import Channel, Topology

_POOLS, _FIRST = 0x10001, 0x11000  # 1:1, 1:1000
_SOURCE, _DESTINATION = 12, 16  # offsets in the IP header
_EQUAL = 1e-3  # rates that differ by less are equal


@dataclass(frozen=True, kw_only=True)
class Way:
    """What is between this node and one peer."""

    peer: str
    """Its name in the topology."""
    address: str
    """Its IPv4 address."""
    there: Channel
    """From here to it."""
    back: Channel
    """From it to here."""
    pool: str | None
    """The capacity of a medium that this node's ways share; None: it has its own."""
    pool_bps: float
    """That medium's rate, from here."""


def ways(topology: Topology, node: str, addresses: Mapping[str, str]) -> tuple[Way, ...]:
    """The ways from a node to peers.

    Args:
        topology: nodes and links.
        node: its name.
        addresses: of peers by name (the node's own may be among them).

    Raises:
        ShapingError: a name that is not in the topology, a peer that cannot be reached, or members
            of a shared medium that have unequal rates.
    """
    known = [each.name for each in topology.nodes]
    for name in (node, *addresses):
        if name not in known:
            nodes = ", ".join(known)
            raise ShapingError(f"there is no node '{name}' in {topology.file}; nodes are {nodes}")
    found = tuple(
        _way(topology, node, peer, address) for peer, address in addresses.items() if peer != node
    )
    if not found:
        raise ShapingError(
            f"no peer of '{node}' has an address; give --hosts FILE or --peer NAME=ADDRESS"
        )
    rates: dict[str, float] = {}
    for way in found:
        if way.pool is not None:
            first = rates.setdefault(way.pool, way.pool_bps)
            if abs(way.pool_bps - first) > _EQUAL * first:
                link = way.pool.partition("/")[0]
                raise ShapingError(
                    f"members of '{link}' have unequal rates, and htb cannot share such a medium; "
                    f"give each its own capacity with --set links.{link}.shared=false"
                )
    return found


def _way(topology: Topology, node: str, peer: str, address: str) -> Way:
    hops = route(topology, node, peer)
    if not hops:
        raise ShapingError(f"'{node}' does not reach '{peer}' in {topology.file}; join them")
    link = next(each for each in topology.links if each.name == hops[0].link)
    return Way(
        peer=peer,
        address=address,
        there=channels.between(topology, node, peer),
        back=channels.between(topology, peer, node),
        pool=pool_of(link, hops[0].target),
        pool_bps=channels.channel(link, hops[0].source, hops[0].target, topology).rate_bps,
    )


def device_towards(address: str) -> str:
    """The interface by which an address is reached from here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError as error:
            raise ShapingError(
                f"{address} cannot be reached from here ({error.strerror})"
            ) from None
        local = probe.getsockname()[0]
    with Kernel(calls.HERE) as kernel:
        return kernel.device_of(local)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be done to an interface."""

    device: str
    """The interface."""
    node: str
    """The node that this host is."""
    ways: tuple[Way, ...]
    rate_only: bool = False
    """Limit rates, and leave delay, jitter and loss out: for kernels without sch_netem."""
    ingress: bool = False
    """Queue what comes from the peers, too."""


def apply(wish: Wish, folder: Path) -> Remembered:
    """Shape an interface, in the place of what was applied to it before; returns the record.

    Raises:
        ShapingError: the kernel cannot, what would help; everything is as it was then.
    """
    with Kernel(calls.HERE) as kernel:
        if wish.device not in kernel.devices():
            names = ", ".join(sorted(kernel.devices()))
            raise ShapingError(f"there is no interface '{wish.device}'; interfaces are {names}")
        _require(wish)
        if recall(wish.device, folder) is not None:
            _clear(kernel, wish.device, folder)
        record = _look(kernel, wish)
        keep(record, folder)
        try:
            _shape(kernel, wish, record)
        except BaseException:
            _clear(kernel, wish.device, folder)
            raise
    return record


def clear(device: str, folder: Path) -> bool:
    """Put back what was there before `apply`; False: nothing was applied here."""
    if recall(device, folder) is None:
        return False
    with Kernel(calls.HERE) as kernel:
        _clear(kernel, device, folder)
    return True


def needed(wish: Wish) -> Iterator[str]:
    """Kernel modules that a wish takes."""
    yield from ("sch_htb", "cls_u32")
    both = [channel for way in wish.ways for channel in _channels(wish, way)]
    if not wish.rate_only and any(map(_emulated, both)):
        yield "sch_netem"
    if wish.ingress:
        yield from ("ifb", "act_mirred")


def _channels(wish: Wish, way: Way) -> tuple[Channel, ...]:
    return (way.there, way.back) if wish.ingress else (way.there,)


def _emulated(channel: Channel) -> bool:
    return bool(channel.delay_s or channel.jitter_s or channel.loss)


def _require(wish: Wish) -> None:
    from edgenet.shaping.netem import lacking

    for module in lacking():
        if module in needed(wish):
            remedy = f"load it with `modprobe {module}`"
            if module == "sch_netem":
                remedy += (
                    ", or add --rate-only, which limits rates and leaves delay, jitter and loss out"
                )
            raise ShapingError(f"the kernel has no {module}; {remedy}")


def _look(kernel: Kernel, wish: Wish) -> Remembered:
    """What is there, if it can be put back."""
    found = queues(kernel, wish.device)
    reason = restorable(found, ingress=wish.ingress)
    if reason is not None:
        raise ShapingError(f"interface '{wish.device}' {reason}")
    ifb = f"edgenet{kernel.index(wish.device)}" if wish.ingress else None
    return Remembered(
        device=wish.device,
        node=wish.node,
        queue=next((each for each in found if each.explicit), None),
        segments=kernel.segments(wish.device),
        ifb=ifb,
        rate_only=wish.rate_only,
        ways=tuple((way.peer, way.address, way.there, way.back) for way in wish.ways),
    )


def _shape(kernel: Kernel, wish: Wish, record: Remembered) -> None:
    if record.queue is not None:
        delete(kernel, wish.device)
    if not wish.rate_only:
        kernel.set(wish.device, gso_max_segs=1)  # what is lost and delayed are real packets
    overhead = -ETHERNET_BYTES if kernel.ethernet(wish.device) else 0
    traffic = Traffic(kernel)
    _queue(traffic, wish, overhead)
    if record.ifb is not None:
        kernel.add(record.ifb, "ifb", state="up")
        traffic.root(record.ifb, overhead)
        for number, way in enumerate(wish.ways):
            lane = At(record.ifb, ROOT, _FIRST + number)
            _lane(traffic, lane, way.back, rate_only=wish.rate_only)
            traffic.match(record.ifb, [_key(_SOURCE, way.address)], lane.handle)
        traffic.redirect(wish.device, record.ifb)


def _queue(traffic: Traffic, wish: Wish, overhead: int) -> None:
    traffic.root(wish.device, overhead)
    pools = _pools(wish.ways)
    for pool, (handle, rate_bps) in pools.items():
        if pool is not None:
            traffic.klass(At(wish.device, ROOT, handle), rate_bps, rate_bps)
    for number, way in enumerate(wish.ways):
        parent = pools[way.pool][0] if way.pool is not None else ROOT
        lane = At(wish.device, parent, _FIRST + number)
        sharers = sum(way.pool == other.pool for other in wish.ways) if way.pool else 1
        _lane(traffic, lane, way.there, sharers, rate_only=wish.rate_only)
        traffic.match(wish.device, [_key(_DESTINATION, way.address)], lane.handle)


def _pools(all_ways: Sequence[Way]) -> dict[str | None, tuple[int, float]]:
    pools = dict.fromkeys(way.pool for way in all_ways if way.pool is not None)
    rates = {way.pool: way.pool_bps for way in all_ways}
    return {pool: (_POOLS + number, rates[pool]) for number, pool in enumerate(pools)}


def _lane(
    traffic: Traffic, lane: At, channel: Channel, sharers: int = 1, *, rate_only: bool
) -> None:
    traffic.klass(lane, channel.rate_bps / sharers, channel.rate_bps)
    if _emulated(channel) and not rate_only:
        traffic.netem(lane.device, lane.handle, channel)
    elif math.isfinite(channel.rate_bps):
        traffic.fifo(lane.device, lane.handle, channel.queue_bytes)


def _key(offset: int, address: str) -> Key:
    return Key(offset, int.from_bytes(socket.inet_aton(address), "big"))


def _clear(kernel: Kernel, device: str, folder: Path) -> None:
    record = recall(device, folder)
    if record is None:
        return
    delete(kernel, device)
    if record.ifb is not None:
        delete(kernel, device, ingress=True)
        kernel.discard(record.ifb)
    kernel.set(device, gso_max_segs=record.segments)
    if record.queue is not None:
        restore(kernel, device, record.queue)
    forget(device, folder)
