"""Traffic control of one namespace: htb classes, netem leaves and u32 filters, over netlink.

The option structures are packed here, as linux/pkt_sched.h and linux/pkt_cls.h lay them out:
pyroute2's own encoders know neither size tables, nor delays below a microsecond, nor filters on
the Ethernet header. Handles are written as tc writes them: 1:10 is 0x1_0010.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST
from pyroute2.netlink.rtnl import (
    RTM_NEWQDISC,
    RTM_NEWTCLASS,
    RTM_NEWTFILTER,
    TC_H_ROOT,
)
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from edgenet.shaping.kernel import MTU, Kernel
from edgenet.topology.spec import Channel

ETHERNET_BYTES = 14
"""The Ethernet header: the kernel's queues count it with the packet, a channel does not."""

FASTEST_BPS = 32e9
"""What stands for an unlimited rate (the kernel's field is 32 bits of bytes per second)."""

_TICK_S = 64e-9  # PSCHED_SHIFT, net/pkt_sched.h
_BURST_S = 1e-3  # how late a timer of the kernel may be without loss of throughput
_QUANTUM = MTU  # bytes that a class borrows before it is the next one's turn
_INGRESS = 0xFFFFFFF1  # TC_H_INGRESS
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET
_ALL = 0x0300  # ETH_P_ALL in network byte order


ROOT = 0x10000
"""1:0, the root of an interface."""


class At(NamedTuple):
    """The place of a queue, a class or a filter."""

    device: str
    """The interface."""
    parent: int
    """What it hangs from."""
    handle: int
    """Its own name."""


@dataclass(frozen=True)
class Key:
    """Four bytes that a packet must have at an offset from its IP header (before it: < 0)."""

    offset: int
    value: int
    mask: int = 0xFFFFFFFF


def towards(mac_tail: bytes) -> tuple[Key, ...]:
    """Matches Ethernet destinations by their last four bytes."""
    return (Key(-12, int.from_bytes(mac_tail, "big")),)


def coming_from(mac_tail: bytes) -> tuple[Key, ...]:
    """Matches Ethernet sources by their last four bytes."""
    value = int.from_bytes(mac_tail, "big")
    return (Key(-8, value >> 16, 0xFFFF), Key(-4, (value & 0xFFFF) << 16, 0xFFFF0000))


class _Message(tcmsg):  # type: ignore[misc]
    """A tc message whose options are packed already."""

    nla_map = tuple(
        (name, "hex" if name in ("TCA_OPTIONS", "TCA_STAB") else kind)
        for name, kind in tcmsg.nla_map
    )


class Traffic:
    """The queues of the interfaces in one namespace.

    Args:
        kernel: its netlink.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def root(self, device: str, overhead: int) -> None:
        """Put an htb at the root of an interface (1:). What no filter catches passes at once.

        Args:
            device: the interface.
            overhead: added to the size of every packet, as it is counted; may be negative.
        """
        glob = struct.pack("=5I", 3, 10, 0, 0, 0)  # version, r2q, default, debug, direct packets
        sizes = struct.pack("=BBhiIIII", 0, 0, 0, overhead, _ETHERNET, 0, MTU, 0)
        options = {"TCA_OPTIONS": _attribute(2, glob), "TCA_STAB": _attribute(1, sizes)}
        self._send(RTM_NEWQDISC, At(device, TC_H_ROOT, ROOT), "htb", options)

    def klass(self, at: At, rate_bps: float, ceil_bps: float, *, create: bool = True) -> None:
        """Add an htb class, or change it.

        Args:
            at: its place; its parent is ROOT or another class.
            rate_bps: what it gets in any case.
            ceil_bps: what it gets when nobody else wants it.
            create: False: it is there already.
        """
        rate, ceil = (int(min(each, FASTEST_BPS) / 8) for each in (rate_bps, ceil_bps))
        burst, large = (max(_BURST_S, 2 * MTU / each) for each in (rate, ceil))
        options = _attribute(
            1,  # TCA_HTB_PARMS: two ratespecs, then buffer, cbuffer, quantum, level, prio
            struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, rate)
            + struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, ceil)
            + struct.pack("=5I", int(burst / _TICK_S), int(large / _TICK_S), _QUANTUM, 0, 0),
        )
        self._send(RTM_NEWTCLASS, at, "htb", {"TCA_OPTIONS": options}, create=create)

    def netem(self, device: str, parent: int, channel: Channel, *, create: bool = True) -> None:
        """Hang a netem under a class, or change it: delay, jitter, loss.

        Args:
            device: the interface.
            parent: the class; the netem's handle is its minor number.
            channel: the lane's; its rate only says how long a queue may become.
            create: False: it is there already.
        """
        flying = min(channel.rate_bps, FASTEST_BPS) * (channel.delay_s + channel.jitter_s) / 8
        limit = int((flying + channel.queue_bytes) / MTU) + 1
        loss = round(channel.loss * 0xFFFFFFFF)
        options = struct.pack("=6I", 0, limit, loss, 0, 0, 0)
        options += _attribute(10, struct.pack("=q", round(channel.delay_s * 1e9)))  # LATENCY64
        options += _attribute(11, struct.pack("=q", round(channel.jitter_s * 1e9)))  # JITTER64
        # With a rate, however high, netem sends each packet after the one before it.
        rate = 0xFFFFFFFF if channel.jitter_s else 0
        options += _attribute(6, struct.pack("=IiIi", rate, 0, 0, 0))
        at = At(device, parent, (parent & 0xFFFF) << 16)
        self._send(RTM_NEWQDISC, at, "netem", {"TCA_OPTIONS": options}, create=create)

    def fifo(self, device: str, parent: int, limit_bytes: int) -> None:
        """Hang a plain queue of so many bytes under a class; its handle is the class's minor."""
        at = At(device, parent, (parent & 0xFFFF) << 16)
        options = struct.pack("=I", limit_bytes)
        self._send(RTM_NEWQDISC, at, "bfifo", {"TCA_OPTIONS": options})

    def match(self, device: str, keys: Sequence[Key], handle: int) -> None:
        """Have packets that fit all keys go to a class."""
        selector = struct.pack("=BBBxHHhhI", 1, 0, len(keys), 0, 0, 0, 0, 0)
        for key in keys:
            selector += struct.pack(">II", key.mask, key.value) + struct.pack("=ii", key.offset, 0)
        options = _attribute(1, struct.pack("=I", handle)) + _attribute(5, selector)
        self._send(RTM_NEWTFILTER, At(device, ROOT, 0), "u32", {"TCA_OPTIONS": options})

    def redirect(self, device: str, target: str) -> None:
        """Have all that comes in by one interface pass the queues of another one first."""
        self._send(RTM_NEWQDISC, At(device, _INGRESS, 0xFFFF0000), "ingress", {})
        self._kernel.ip.tc(
            "add-filter",
            "u32",
            self._kernel.index(device),
            parent=0xFFFF0000,
            prio=1,
            protocol=3,  # ETH_P_ALL
            target=ROOT,
            keys=["0x0/0x0+0"],
            action={
                "kind": "mirred",
                "direction": "egress",
                "action": "redirect",
                "ifindex": self._kernel.index(target),
            },
        )

    def counts(self, device: str) -> dict[int, dict[str, int]]:
        """By class: packets that have passed, and packets that its netem has dropped."""
        index, found = self._kernel.index(device), {}
        for queue in self._kernel.ip.get_qdiscs(index):
            parent = queue["parent"] & 0xFFFF
            if queue.get_attr("TCA_KIND") == "netem":
                counted = queue.get_attr("TCA_STATS")
                found[0x10000 | parent] = {
                    "packets": counted["packets"],
                    "dropped": counted["drop"],
                }
        return found

    def _send(
        self, what: int, at: At, kind: str, options: Mapping[str, bytes], create: bool = True
    ) -> None:
        message = _Message()
        message["header"]["type"] = what
        new = NLM_F_CREATE | NLM_F_EXCL if create else 0
        message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | new
        message["index"], message["parent"] = self._kernel.index(at.device), at.parent
        message["handle"] = at.handle
        message["info"] = 1 << 16 | _ALL if what == RTM_NEWTFILTER else 0
        message["attrs"] = [("TCA_KIND", kind), *options.items()]
        self._kernel.ip.nlm_request_batch([message])


def _attribute(kind: int, value: bytes) -> bytes:
    """A netlink attribute, padded to four bytes."""
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)
