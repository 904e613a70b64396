"""The `netem` back end: the kernel's htb and netem in the queues of veth pairs and bridges.

A lane is an htb class (its rate) with a netem leaf (its delay, jitter and loss). It stands where
all that it shares capacity with comes by:

    its own capacity, or a base sending to its members   the sender's interface, by destination
    members sending to their base                        the bridge's port to the base, by source
    a half-duplex medium                                 an ifb behind all ports, by both

A pool is a class with the medium's rate, from which its lanes borrow what the others leave. htb
shares bytes and not time, so it cannot share a medium whose members have unequal rates. The queue's
length is counted in full packets.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from edgenet.errors import ShapingError
from edgenet.shaping import calls
from edgenet.shaping.bridges import Bridges
from edgenet.shaping.kernel import Kernel
from edgenet.shaping.lanes import Lane
from edgenet.shaping.layout import Layout
from edgenet.shaping.record import Record
from edgenet.shaping.traffic import (
    ETHERNET_BYTES,
    FASTEST_BPS,
    ROOT,
    At,
    Key,
    Traffic,
    coming_from,
    towards,
)
from edgenet.topology.spec import Channel

_POOL, _FIRST = 0x10001, 0x10010  # 1:1 and 1:10
_EQUAL = 1e-3  # rates that differ by less are equal


@dataclass(frozen=True)
class Place:
    """Where lanes are queued."""

    namespace: Path
    """The namespace of the interface."""
    device: str
    """The interface."""
    pool: str | None
    """The capacity that all lanes in this place share; None: each has its own."""


class Netem(Bridges):
    """Bridges, with shaping (see `edgenet.shaping.network.BackEnd`)."""

    def __init__(self, layout: Layout, lanes: Sequence[Lane], record: Record) -> None:
        super().__init__(layout, lanes, record)
        self._places: dict[Place, list[Lane]] = {}
        for lane in lanes:
            self._places.setdefault(self._place(lane), []).append(lane)
        reason = unsuited(lanes)
        if reason is not None:
            raise ShapingError(reason)

    def start(self) -> None:
        """Put the cables into their bridges, and the queues on them."""
        super().start()
        for place, lanes in self._places.items():
            with self._traffic(place) as (kernel, traffic):
                if place.device == self._air(lanes[0].link):
                    self._gather(kernel, traffic, place.device, lanes[0].link)
                traffic.root(place.device, -ETHERNET_BYTES)
                for number, lane in enumerate(lanes):
                    self._shape(traffic, place, number, lane, create=True)
                    traffic.match(place.device, self._keys(place, lane), _FIRST + number)

    def change(self, changes: Mapping[tuple[str, str, str], Channel]) -> None:
        """Give lanes, named by their keys, other channels.

        Raises:
            ShapingError: the members of a shared medium would come to have unequal rates.
        """
        after = {
            place: [replace(lane, channel=changes.get(lane.key, lane.channel)) for lane in lanes]
            for place, lanes in self._places.items()
        }
        reason = unsuited([lane for lanes in after.values() for lane in lanes])
        if reason is not None:
            raise ShapingError(reason)
        for place, lanes in after.items():
            if any(lane.key in changes for lane in lanes):
                with self._traffic(place) as (_, traffic):
                    for number, lane in enumerate(lanes):
                        self._shape(traffic, place, number, lane, create=False)
        self._places = after

    def counts(self) -> dict[tuple[str, str, str], dict[str, int]]:
        """What each lane has carried and dropped so far."""
        found: dict[tuple[str, str, str], dict[str, int]] = {}
        for place, lanes in self._places.items():
            with self._traffic(place) as (_, traffic):
                counted = traffic.counts(place.device)
            for number, lane in enumerate(lanes):
                found[lane.key] = counted[_FIRST + number]
        return found

    def _shape(
        self, traffic: Traffic, place: Place, number: int, lane: Lane, *, create: bool
    ) -> None:
        handle, rate = _FIRST + number, min(lane.channel.rate_bps, FASTEST_BPS)
        if place.pool is None:
            traffic.klass(At(place.device, ROOT, handle), rate, rate, create=create)
        else:
            if number == 0:
                traffic.klass(At(place.device, ROOT, _POOL), rate, rate, create=create)
            share = rate / len(self._places[place])
            traffic.klass(At(place.device, _POOL, handle), share, rate, create=create)
        traffic.netem(place.device, handle, lane.channel, create=create)

    def _place(self, lane: Lane) -> Place:
        source = calls.path_of(self._layout.namespace(lane.source))
        if lane.pool is None or lane.pool.endswith("/down"):
            return Place(source, self._layout.device(lane.link), lane.pool)
        if lane.pool.endswith("/up"):
            return Place(self._core, self.port(lane.target, lane.link), lane.pool)
        return Place(self._core, self._air(lane.link), lane.pool)

    def _keys(self, place: Place, lane: Lane) -> tuple[Key, ...]:
        source = coming_from(socket.inet_aton(self._layout.address(lane.source)))
        target = towards(socket.inet_aton(self._layout.address(lane.target)))
        if place.device == self._air(lane.link):
            return (*source, *target)
        return source if place.namespace == self._core else target

    def _air(self, link: str) -> str:
        return f"air{self._link_number(link)}"

    def _gather(self, kernel: Kernel, traffic: Traffic, air: str, link: str) -> None:
        kernel.add(air, "ifb", state="up", txqlen=1000)
        for port in self._ports[link]:
            traffic.redirect(port, air)

    @contextmanager
    def _traffic(self, place: Place) -> Iterator[tuple[Kernel, Traffic]]:
        with Kernel(place.namespace) as kernel:
            yield kernel, Traffic(kernel)


def unsuited(lanes: Sequence[Lane]) -> str | None:
    """Why these lanes cannot be had with netem, in a sentence; None if they can."""
    rates: dict[str, set[float]] = {}
    for lane in lanes:
        if lane.pool is not None:
            rates.setdefault(lane.pool, set()).add(lane.channel.rate_bps)
    for pool, found in rates.items():
        if max(found) > min(found) * (1 + _EQUAL):
            return (
                f"netem cannot share '{pool}' among members of unequal rates "
                f"({min(found) / 1e6:.3g} to {max(found) / 1e6:.3g} Mbit/s); use --shaping relay"
            )
    return None


def missing() -> str | None:
    """Name of the first kernel module that netem needs and that does not load; found out by use,
    in a namespace that is gone afterwards."""
    module = "sch_htb"
    try:
        with calls.scratch(), Kernel(calls.HERE) as kernel:
            for module in chain(use(kernel), _use_more(kernel)):  # noqa: B007 (where it stops)
                pass
    except ShapingError:
        return module
    return None


def use(kernel: Kernel) -> Iterator[str]:
    """Use what every lane needs on the loopback, a module after the other; names each before its
    use."""
    traffic = Traffic(kernel)
    yield "sch_htb"
    kernel.set("lo", state="up")
    traffic.root("lo", 0)
    traffic.klass(At("lo", ROOT, _FIRST), 1e6, 1e6)
    yield "sch_netem"
    traffic.netem("lo", _FIRST, Channel())
    yield "cls_u32"
    traffic.match("lo", [Key(0, 0, 0)], _FIRST)


def lacking() -> set[str]:
    """Names of all kernel modules that queues may need and that do not load; found out by use, in
    a namespace that is gone afterwards. Empty where this process may not make one."""
    found: set[str] = set()
    try:
        with calls.scratch(), Kernel(calls.HERE) as kernel:
            for module, act in _trials(kernel):
                try:
                    act()
                except NetlinkError:
                    found.add(module)
    except OSError:
        return set()
    return found


def _trials(kernel: Kernel) -> Iterator[tuple[str, Callable[[], None]]]:
    """Each module with something that needs it, and of the others only what comes before it."""
    traffic, lane = Traffic(kernel), At("lo", ROOT, _FIRST)
    kernel.set("lo", state="up")
    yield "sch_htb", partial(traffic.root, "lo", 0)
    yield "cls_u32", partial(traffic.match, "lo", [Key(0, 0, 0)], _FIRST)
    yield "ifb", partial(kernel.add, "air", "ifb")
    yield "act_mirred", partial(traffic.redirect, "lo", "air")
    yield "sch_htb", partial(traffic.klass, lane, 1e6, 1e6)
    yield "sch_netem", partial(traffic.netem, "lo", _FIRST, Channel())


def _use_more(kernel: Kernel) -> Iterator[str]:
    """The same for what a half-duplex medium needs."""
    yield "ifb"
    kernel.add("air", "ifb")
    yield "act_mirred"
    Traffic(kernel).redirect("lo", "air")
