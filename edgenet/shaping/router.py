"""The relay's process: a router in user space over TUN devices.

    python -m edgenet.shaping.router

It inherits open TUN devices and speaks JSON lines: on stdin first the plan (see `Router`), then
orders; on stdout one answer to each. The end of stdin ends it, and so does its parent's.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import select
import socket
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from edgenet.shaping import calls
from edgenet.shaping.queues import Agenda, Lane, Pool, PooledLane, Queue
from edgenet.topology.spec import Channel

_PACKET = 2048  # more than the MTU of the TUN devices
_BURST = 16  # packets read from one device before others are looked at
_IDLE_S = 60.0
_TARGET = slice(16, 20)  # where an IPv4 header has its destination


class Router:
    """Carries packets between TUN devices.

    Args:
        plan: {"lanes": [{"from": fd, "to": fd, "targets": [address, ...], "channel": {...},
            "pool": name or null}], "seed": number}. A packet read from `from` for one of `targets`
            goes to `to`; other packets are dropped.
    """

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._agenda = Agenda()
        self._lanes: list[Lane] = []
        self._ways: dict[int, dict[bytes, tuple[Lane | PooledLane, Queue]]] = {}
        self._pools: dict[str, Pool] = {}
        self._ends: list[tuple[Lane | PooledLane, Queue]] = []
        for number, fields in enumerate(plan["lanes"]):
            self._add(fields, f"{plan['seed']}/{number}")
        self.strays = 0
        """Packets for nobody."""

    def _add(self, fields: Mapping[str, Any], seed: str) -> None:
        lane = Lane(_channel(fields["channel"]), partial(_write, fields["to"]), seed)
        end: Lane | PooledLane = lane
        queue: Queue = lane
        if fields["pool"] is not None:
            queue = self._pools.setdefault(fields["pool"], Pool(self._agenda.note))
            end = PooledLane(lane, queue)
        self._lanes.append(lane)
        self._ends.append((end, queue))
        way = self._ways.setdefault(fields["from"], {})
        way |= {socket.inet_aton(target): (end, queue) for target in fields["targets"]}

    def serve(self, orders: int) -> None:
        """Route until `orders` ends; what arrives there is obeyed and answered on stdout."""
        with select.epoll() as poll:
            for fd in (orders, *self._ways):
                poll.register(fd, select.EPOLLIN)
            due, text = 0.0, b""
            while True:
                # epoll's own timeout counts milliseconds, select's microseconds.
                left = due - time.monotonic()
                select.select([poll], [], [], min(max(left, 0.0), _IDLE_S))
                for fd, _ in poll.poll(0):
                    if fd != orders:
                        self._read(fd, poll)
                        continue
                    more = os.read(orders, 65536)
                    if not more:
                        return
                    *lines, text = (text + more).split(b"\n")
                    for line in lines:
                        self._obey(json.loads(line))
                due = self._agenda.fire(time.monotonic())

    def _read(self, device: int, poll: select.epoll) -> None:
        """Take in what nodes have sent through one device."""
        way, note, read, clock = self._ways[device], self._agenda.note, os.read, time.monotonic
        try:
            for _ in range(_BURST):
                packet = read(device, _PACKET)
                found = way.get(packet[_TARGET])
                if found is None:
                    self.strays += 1
                elif found[0].offer(packet, clock()):
                    note(found[1])
        except BlockingIOError:
            return
        except OSError:  # the device is gone, with its namespace
            poll.unregister(device)

    def _obey(self, order: Mapping[str, Any]) -> None:
        """{"change": [[lane, channel], ...]} or {"count": true}."""
        now = time.monotonic()
        for number, fields in order.get("change", ()):
            end, queue = self._ends[number]
            end.change(_channel(fields), now)
            self._agenda.note(queue)
            self._agenda.note(self._lanes[number])
        counts = [[each.packets, each.dropped] for each in self._lanes]
        answer(lanes=counts if "count" in order else [], strays=self.strays)


def _channel(fields: Mapping[str, Any]) -> Channel:
    return Channel(**{**fields, "rate_bps": fields["rate_bps"] or math.inf})


def _write(device: int, packet: bytes) -> None:
    # A node whose interface is down or gone gets nothing, as from a real network.
    with contextlib.suppress(OSError):
        os.write(device, packet)


def _go_first() -> None:
    """Run as soon as a packet comes: it must not wait for the nodes' training."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:  # without CAP_SYS_NICE packets wait longer, and the probe tells
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)


def answer(**fields: Any) -> None:
    """One line on stdout."""
    os.write(1, json.dumps(fields).encode() + b"\n")


def main() -> int:
    """Route between the devices of the plan on stdin."""
    calls.die_with_parent()
    calls.wake_exactly()
    _go_first()
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            return 0
        line += more
    router = Router(json.loads(line))
    gc.collect()
    gc.freeze()
    gc.disable()  # packets hold no cycles, and a collection takes longer than a packet may wait
    answer(ready=True)
    router.serve(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
