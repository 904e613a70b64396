"""What a network really does to packets: rate, one-way delay and loss, measured with UDP.

Both ends are sockets of this process, in two namespaces of one host: one clock. Arrivals are
stamped by the kernel, so it does not matter how soon this process is woken. Sizes are those of IP
packets, which is what a channel's rate counts.
"""

from __future__ import annotations

import select
import socket
import statistics
import struct
import time
from collections.abc import Sequence
from types import TracebackType

from edgenet.shaping.kernel import MTU
from edgenet.shaping.network import Network

HEADER_BYTES = 28
"""IPv4 and UDP."""

_STAMP = 35  # SO_TIMESTAMPNS, asm-generic/socket.h
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33  # ... (root may exceed the limits by these)
_ROOM = 16 << 20
_SILENCE_S = 1.0  # no packet for this long: the rest is lost
_NUMBER = struct.Struct("=QQ")  # number, when it was sent (ns)


class Beam:
    """A stream of datagrams from one node to another; a context manager.

    Args:
        network: it stands.
        source: name of the node that sends.
        target: name of the node that receives.
    """

    def __init__(self, network: Network, source: str, target: str) -> None:
        with network.inside(target):
            self._in = _socket(network.address(target))
        with network.inside(source):
            self._out = _socket(network.address(source))
        self._out.connect(self._in.getsockname())
        self.sent = 0
        self.arrivals: list[tuple[int, float, float]] = []
        """(number, sent, arrived), in seconds of the system's clock, in order of arrival."""

    def __enter__(self) -> Beam:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._in.close()
        self._out.close()

    def send(self, count: int, size: int = MTU) -> None:
        """Send packets of `size` bytes, as fast as the network takes them."""
        padding = bytes(size - HEADER_BYTES - _NUMBER.size)
        for _ in range(count):
            self._out.send(_NUMBER.pack(self.sent, time.time_ns()) + padding)
            self.sent += 1

    def receive(self, silence_s: float = _SILENCE_S) -> None:
        """Take what arrives, until all has or nothing has for `silence_s`."""
        while len(self.arrivals) < self.sent:
            if not select.select([self._in], [], [], silence_s)[0]:
                return
            self.drain()

    def drain(self) -> None:
        """Take what has arrived by now."""
        while True:
            try:
                data, extra, _, _ = self._in.recvmsg(MTU, 64, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            number, sent = _NUMBER.unpack_from(data)
            seconds, nanoseconds = struct.unpack("@ll", extra[0][2])
            self.arrivals.append((number, sent / 1e9, seconds + nanoseconds / 1e9))

    def start_again(self, silence_s: float = _SILENCE_S) -> None:
        """Forget what was sent and received, and what comes within `silence_s` of each other."""
        self.receive(silence_s)
        self.sent = 0
        self.arrivals.clear()

    def rate_bps(self, size: int = MTU) -> float:
        """Bits per second between the first arrival and the last.

        Raises:
            ValueError: fewer than two packets arrived.
        """
        return self.rates_bps(len(self.arrivals), size)[0]

    def rates_bps(self, window: int, size: int = MTU) -> list[float]:
        """Bits per second over each full window of so many arrivals.

        Raises:
            ValueError: a window holds fewer than two packets, or more than have arrived.
        """
        times = [arrived for _, _, arrived in self.arrivals]
        if not 2 <= window <= len(times):
            raise ValueError(f"no window of {window} packets: {len(times)} have arrived")
        starts = range(0, len(times) - window + 1, window)
        bits = (window - 1) * size * 8
        return [bits / (times[start + window - 1] - times[start]) for start in starts]

    def delays_s(self) -> list[float]:
        """Of each packet, from being sent to its arrival."""
        return [arrived - sent for _, sent, arrived in self.arrivals]


def rate_bps(
    network: Network, source: str, target: str, *, count: int = 500, times: int = 5
) -> float:
    """The rate of one way: the median over windows of 100 in bursts of `count` full packets, so
    that a moment in which the host was busy elsewhere does not count."""
    rates = []
    with Beam(network, source, target) as beam:
        for _ in range(times):
            beam.send(count)
            beam.receive()
            rates += beam.rates_bps(min(100, count))
            beam.start_again()
    return statistics.median(rates)


def delays_s(network: Network, source: str, target: str, *, count: int = 40) -> Sequence[float]:
    """The delays of small packets, one at a time on the way."""
    with Beam(network, source, target) as beam:
        for _ in range(count):
            beam.send(1, 64)
            beam.receive()
        return beam.delays_s()


def loss(
    network: Network, source: str, target: str, *, count: int = 10_000, rate_bps: float = 10e6
) -> float:
    """The part of small packets that does not arrive, sent at about `rate_bps`."""
    size, chunk = 100, 100
    with Beam(network, source, target) as beam:
        for _ in range(count // chunk):
            beam.send(chunk, size)
            time.sleep(chunk * size * 8 / rate_bps)
            beam.drain()
        beam.receive()
        return 1 - len(beam.arrivals) / beam.sent


def _socket(address: str) -> socket.socket:
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _ROOM)
    end.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, _ROOM)
    end.setsockopt(socket.SOL_SOCKET, _STAMP, 1)
    end.bind((address, 0))
    return end
