"""The `relay` back end: TUN devices in the namespaces, and a router of our own between them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edgenet.errors import NodeError
from edgenet.shaping import calls
from edgenet.shaping.kernel import MTU, Kernel
from edgenet.shaping.lanes import Lane
from edgenet.shaping.layout import Layout
from edgenet.shaping.record import Record
from edgenet.topology.spec import Channel

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_TRANSMIT_QUEUE = 5000  # packets that wait for the relay to read them, should it be late
_ANSWER_S = 10.0  # a relay that takes longer than this is no use any more
_END_S = 1.0


class Relay:
    """Builds and runs a network's relay (see `edgenet.shaping.network.BackEnd`).

    Args:
        layout: names and addresses.
        lanes: what is between the nodes.
        record: takes the process id.
    """

    def __init__(self, layout: Layout, lanes: Sequence[Lane], record: Record) -> None:
        self._layout, self._lanes, self._record = layout, lanes, record
        self._devices: dict[tuple[str, str], int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = threading.Lock()  # the timeline is carried out by a thread of its own
        self._number = {lane.key: i for i, lane in enumerate(lanes)}

    def attach(self, kernel: Kernel, node: str, link: str) -> None:
        """Make a node's interface to a link."""
        device = self._layout.device(link)
        with calls.inside(kernel.path):
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._devices[node, link] = fd
        flags = _IFF_TUN | _IFF_NO_PI
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", device.encode(), flags))
        kernel.set(device, mtu=MTU, txqlen=_TRANSMIT_QUEUE, state="up")

    def start(self) -> None:
        """Start the router between the interfaces.

        Raises:
            NodeError: it does not come up.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgenet.shaping.router"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=tuple(self._devices.values()),
            start_new_session=True,  # Ctrl-C at the terminal is the launcher's business
        )
        self._record.process(self._process.pid)
        self._ask(self._plan())
        self._close_devices()

    def change(self, changes: Mapping[tuple[str, str, str], Channel]) -> None:
        """Give lanes, named by their keys, other channels."""
        pairs = [[self._number[key], _fields(channel)] for key, channel in changes.items()]
        self._ask({"change": pairs})

    def counts(self) -> dict[tuple[str, str, str], dict[str, int]]:
        """What each lane has carried and dropped so far."""
        counts = self._ask({"count": True})["lanes"]
        return {
            lane.key: {"packets": packets, "dropped": dropped}
            for lane, (packets, dropped) in zip(self._lanes, counts, strict=True)
        }

    def check(self) -> None:
        """Raises NodeError when the router has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise self._gone()

    def close(self) -> None:
        """End the router; its interfaces go with it."""
        self._close_devices()
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # of what it did not want to read any more
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._process = None

    def _close_devices(self) -> None:
        for fd in self._devices.values():
            os.close(fd)
        self._devices.clear()

    def _plan(self) -> dict[str, Any]:
        layout = self._layout
        ways: dict[tuple[str, str, str], list[str]] = {}
        for node in {lane.source for lane in self._lanes}:
            for route in layout.routes(node):
                ways.setdefault((node, route.gateway, route.device), []).append(route.target)
        return {
            "seed": layout.topology.seed,
            "lanes": [
                {
                    "from": self._devices[lane.source, lane.link],
                    "to": self._devices[lane.target, lane.link],
                    "targets": ways.get(
                        (lane.source, layout.address(lane.target), layout.device(lane.link)), []
                    ),
                    "channel": _fields(lane.channel),
                    "pool": lane.pool,
                }
                for lane in self._lanes
            ],
        }

    def _ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Send one line, wait for one line."""
        with self._asking:
            return self._answer_to(order)

    def _answer_to(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        text, fd = b"", self._process.stdout.fileno()
        deadline = time.monotonic() + _ANSWER_S
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            while not text.endswith(b"\n"):
                ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
                more = os.read(fd, 65536) if ready else b""
                if not more:
                    raise BrokenPipeError
                text += more
        except BrokenPipeError:
            raise self._gone() from None
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _gone(self) -> NodeError:
        assert self._process is not None
        return NodeError(
            f"the relay (process {self._process.pid}) has ended or does not answer any more, and "
            "with it the network between the nodes; what it said last stands above"
        )


def _fields(channel: Channel) -> dict[str, Any]:
    """A channel as JSON, which has no infinity: an unlimited rate is 0."""
    fields = asdict(channel)
    return fields | {"rate_bps": 0 if math.isinf(channel.rate_bps) else channel.rate_bps}
