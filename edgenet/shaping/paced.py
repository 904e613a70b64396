"""Pacing: the link itself holds a frame back until a slower channel would have delivered it.

A pure model of one direction, the queue of one transmitter in front of a pipe:

- Serialisation: a frame takes its bytes / rate, behind the frames before it.
- Propagation: then delay, plus uniform jitter of +- jitter; frames never overtake each other.
- Loss, as a reliable transport shows it: a frame is ceil(bytes / 1448) packets (TCP's payload in
  an Ethernet frame), each lost independently with probability `loss`. What is lost is
  serialised again, and arrives one round trip (twice the delay) later; what is lost again costs
  another, up to 15 (where TCP hangs up). Whoever waits behind waits too (the stream is in order).
  TCP's own reaction, a smaller window, is not modelled: the kernel's back ends have it.

- A channel that changes over time (events, fading, traces) is looked up as the frame goes through
  it: what is left of a frame at a change goes at the new rate, and nothing goes while the
  way is cut. The delay is the one at the end of its transmission.

The rate counts the link's own bytes, payload and header; TCP/IP's headers (3.6 % of a full packet)
are not added. Goodput is the asked rate.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable
from typing import Protocol

from edgenet.channels import BEFORE
from edgenet.topology.spec import Channel

PACKET_BYTES = 1448
"""TCP payload in an Ethernet frame of 1500 bytes with IPv4 and timestamps."""
_MOST_ROUNDS = 15
"""Linux's net.ipv4.tcp_retries2."""


class Course(Protocol):
    """What one direction does over time."""

    def at(self, time_s: float) -> tuple[Channel, float]:
        """The channel at this time, and until when it stays so; loss 1: cut."""


class Constant:
    """A course that never changes."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def at(self, time_s: float) -> tuple[Channel, float]:
        """The channel, for ever."""
        return self._channel, math.inf


class Pacer:
    """When frames sent over one direction of a channel arrive. Call it in sending order.

    Args:
        course: what the direction does to bytes, or a channel that stays as it is.
        seed: of jitter and loss; the same seed and frames give the same times.
        started: when (on the clock of `deliver_at`) the course's time 0 was; None before it.
    """

    def __init__(
        self,
        course: Course | Channel,
        seed: Hashable = 0,
        started: Callable[[], float | None] = lambda: 0.0,
    ) -> None:
        self._course = Constant(course) if isinstance(course, Channel) else course
        self._started = started
        self._random = random.Random(repr(seed))
        self._idle_at = 0.0
        self._last_arrival = 0.0
        self._latest = (0.0, 0, 0, 0.0, 0.0)  # start, bits, round trips, jitter, arrival before

    @property
    def queue_bytes(self) -> int:
        """Bytes that may wait before the sender is held back."""
        return self._course.at(BEFORE)[0].queue_bytes

    def deliver_at(self, nbytes: int, queued_at: float) -> float:
        """When a frame of `nbytes` arrives that was handed to the transmitter at `queued_at`.

        Both on the same clock, in seconds. Arrivals never go back; inf is never, as far as the
        course is known.
        """
        start = max(self._idle_at, queued_at)
        if math.isinf(start):
            return start
        lost, rounds = self._lose(nbytes, self._at(start)[0])
        bits = (nbytes + lost * PACKET_BYTES) * 8
        self._latest = start, bits, rounds, self._random.uniform(-1.0, 1.0), self._last_arrival
        return self.again()

    def again(self) -> float:
        """When the latest frame arrives, as the course is known now: it may have changed by hand
        since `deliver_at`."""
        start, bits, rounds, jitter, before = self._latest
        self._idle_at = self._transmitted(bits, start)
        if math.isinf(self._idle_at):
            return self._idle_at
        channel, _ = self._at(self._idle_at)
        travel_s = max(0.0, channel.delay_s + jitter * channel.jitter_s)
        travel_s += rounds * 2 * channel.delay_s
        self._last_arrival = max(before, self._idle_at + travel_s)
        return self._last_arrival

    def cut(self, now: float) -> bool:
        """Whether nothing goes through at this time."""
        return self._at(now)[0].loss >= 1.0

    def _at(self, now: float) -> tuple[Channel, float]:
        """The channel at a time of the caller's clock, and until when."""
        started = self._started()
        if started is None:
            return self._course.at(BEFORE)[0], math.inf
        channel, until = self._course.at(now - started)
        return channel, started + until

    def _transmitted(self, bits: float, now: float) -> float:
        """When so many bits have left that start now."""
        started = self._started()
        time_s, offset_s = (BEFORE, now - BEFORE) if started is None else (now - started, started)
        while math.isfinite(time_s):
            channel, until = self._course.at(time_s)
            rate_bps = channel.rate_bps if channel.loss < 1.0 else 0.0
            if started is None or math.isinf(rate_bps) or rate_bps * (until - time_s) >= bits:
                return offset_s + time_s + bits / rate_bps
            bits -= rate_bps * (until - time_s)
            time_s = until
        return time_s

    def _lose(self, nbytes: int, channel: Channel) -> tuple[int, int]:
        """(packets sent again, round trips that it took) for one frame."""
        loss = channel.loss
        if not 0.0 < loss < 1.0:
            return 0, 0
        under_way, lost, rounds = -(-nbytes // PACKET_BYTES), 0, 0
        while under_way and rounds < _MOST_ROUNDS:
            under_way = sum(self._random.random() < loss for _ in range(under_way))
            lost += under_way
            rounds += under_way > 0
        return lost, rounds
