"""A slow link between two network namespaces: two TUN devices and a relay in user space.

For measuring over real TCP on a kernel without sch_netem. Each direction is one transmitter: a
packet leaves when those before it have left and its own bits are sent, and arrives a
propagation delay later; a packet that finds the queue full is dropped. Needs root.

    with SlowLink(rate_bps=20e6, delay_s=0.025) as link:
        subprocess.run(link.inside(0, ["ping", "-c1", link.addresses[1]]))
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TUN = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN_WITHOUT_HEADER = 0x1001
_READ_BYTES = 65_536


def possible() -> bool:
    """Whether this machine can do it: root, TUN devices, and `ip`."""
    try:
        found = subprocess.run(["ip", "-V"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
    return found and os.geteuid() == 0 and TUN.exists()


def ip(*words: str) -> str:
    """Run `ip`; returns what it prints. Raises CalledProcessError."""
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    return done.stdout


@dataclass
class Direction:
    """One way through the link."""

    source: int
    """File descriptor of the device that packets come from."""
    target: int
    """... and go to."""
    idle_at: float = 0.0
    """When the transmitter is free (time.monotonic)."""
    travelling: deque[tuple[float, bytes]] = field(default_factory=deque)
    """(arrival, packet), in order."""

    def take_in(self, rate_bps: float, delay_s: float, queue_bytes: int) -> None:
        """Read what the device has and schedule it."""
        while True:
            try:
                packet = os.read(self.source, _READ_BYTES)
            except BlockingIOError:
                return
            now = time.monotonic()
            waiting_bytes = max(0.0, self.idle_at - now) * rate_bps / 8
            if waiting_bytes <= queue_bytes:
                self.idle_at = max(self.idle_at, now) + 8 * len(packet) / rate_bps
                self.travelling.append((self.idle_at + delay_s, packet))

    def hand_out(self) -> float | None:
        """Deliver what has arrived; returns when the next packet will, or None."""
        while self.travelling and self.travelling[0][0] <= time.monotonic():
            packet = self.travelling.popleft()[1]
            with suppress(OSError):  # the device's queue is full, or it is down: a lost packet
                os.write(self.target, packet)
        return self.travelling[0][0] if self.travelling else None


class SlowLink:
    """Two namespaces joined by a slow link; a context manager that removes what it made.

    Args:
        rate_bps: of each direction, for whole IP packets.
        delay_s: one way.
        queue_bytes: what waits beyond is dropped.
    """

    addresses = ("10.203.7.1", "10.203.7.2")

    def __init__(self, rate_bps: float, delay_s: float, queue_bytes: int = 1_000_000) -> None:
        self._rate_bps, self._delay_s, self._queue_bytes = rate_bps, delay_s, queue_bytes
        self._namespaces: list[str] = []
        self._relay = 0

    def __enter__(self) -> SlowLink:
        try:
            devices = [self._end(side) for side in (0, 1)]
            self._relay = os.fork()
        except BaseException:
            self._remove()
            raise
        if self._relay == 0:
            try:
                self._run(devices)
            finally:
                os._exit(1)
        for device in devices:
            os.close(device)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._relay, 9)
        os.waitpid(self._relay, 0)
        self._remove()

    def inside(self, side: int, command: Sequence[str]) -> list[str]:
        """The words that run `command` in one of the namespaces."""
        return ["ip", "netns", "exec", self._namespaces[side], *command]

    def moved(self, side: int) -> dict[str, int]:
        """Bytes that crossed one end's interface: {'out': ..., 'in': ...}."""
        text = ip("-n", self._namespaces[side], "-s", "-j", "link", "show", self._name(side))
        counts = json.loads(text)[0]["stats64"]
        return {"out": counts["tx"]["bytes"], "in": counts["rx"]["bytes"]}

    def _name(self, side: int) -> str:
        return f"slow{os.getpid() % 1_000_000}{'ab'[side]}"

    def _end(self, side: int) -> int:
        """Make one namespace with its device; returns the device's file descriptor."""
        namespace = f"edgenet-bench-{os.getpid()}-{side}"
        ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        name = self._name(side)
        request = struct.pack("16sH22x", name.encode(), _IFF_TUN_WITHOUT_HEADER)
        fcntl.ioctl(device, _TUNSETIFF, request)
        ip("link", "set", name, "netns", namespace)
        ip("-n", namespace, "address", "add", f"{self.addresses[side]}/24", "dev", name)
        ip("-n", namespace, "link", "set", name, "mtu", "1500", "up")
        ip("-n", namespace, "link", "set", name, "txqueuelen", "10000")
        ip("-n", namespace, "link", "set", "lo", "up")
        return device

    def _remove(self) -> None:
        while self._namespaces:
            ip("netns", "delete", self._namespaces.pop())

    def _run(self, devices: list[int]) -> None:
        a, b = devices
        there, back = Direction(a, b), Direction(b, a)
        while True:
            due = [at for each in (there, back) if (at := each.hand_out()) is not None]
            wait_s = max(0.0, min(due) - time.monotonic()) if due else 1.0
            ready = select.select(devices, [], [], wait_s)[0]
            for each in (there, back):
                if each.source in ready:
                    each.take_in(self._rate_bps, self._delay_s, self._queue_bytes)
