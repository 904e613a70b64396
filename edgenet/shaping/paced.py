"""Pacing: the link itself holds a frame back until a slower channel would have delivered it.

A pure model of one direction, the queue of one transmitter in front of a pipe:

- Serialisation: a frame takes its bytes / rate, behind the frames before it.
- Propagation: then delay, plus uniform jitter of +- jitter; frames never overtake each other.
- Loss, as a reliable transport shows it: a frame is ceil(bytes / 1448) packets (TCP's payload in
  an Ethernet frame), each lost independently with probability `loss`. What is lost is
  serialised again, and arrives one round trip (twice the delay) later; what is lost again costs
  another, up to 15 (where TCP hangs up). Whoever waits behind waits too (the stream is in order).
  TCP's own reaction, a smaller window, is not modelled: the kernel's back ends have it.

The rate counts the link's own bytes, payload and header; TCP/IP's headers (3.6 % of a full packet)
are not added. Goodput is the asked rate.
"""

from __future__ import annotations

import random
from collections.abc import Hashable

from edgenet.topology.spec import Channel

PACKET_BYTES = 1448
"""TCP payload in an Ethernet frame of 1500 bytes with IPv4 and timestamps."""
_MOST_ROUNDS = 15
"""Linux's net.ipv4.tcp_retries2."""


class Pacer:
    """When frames sent over one direction of a channel arrive. Call it in sending order.

    Args:
        channel: what the direction does to bytes. May be replaced between frames.
        seed: of jitter and loss; the same seed and frames give the same times.
    """

    def __init__(self, channel: Channel, seed: Hashable = 0) -> None:
        self.channel = channel
        self._random = random.Random(repr(seed))
        self._idle_at = 0.0
        self._last_arrival = 0.0

    @property
    def queue_bytes(self) -> int:
        """Bytes that may wait before the sender is held back."""
        return self.channel.queue_bytes

    def deliver_at(self, nbytes: int, queued_at: float) -> float:
        """When a frame of `nbytes` arrives that was handed to the transmitter at `queued_at`.

        Both on the same clock, in seconds. Arrivals never go back.
        """
        channel = self.channel
        lost, rounds = self._lose(nbytes)
        sent_bytes = nbytes + lost * PACKET_BYTES
        self._idle_at = max(self._idle_at, queued_at) + sent_bytes * 8 / channel.rate_bps
        jitter_s = self._random.uniform(-channel.jitter_s, channel.jitter_s)
        travel_s = max(0.0, channel.delay_s + jitter_s) + rounds * 2 * channel.delay_s
        self._last_arrival = max(self._last_arrival, self._idle_at + travel_s)
        return self._last_arrival

    def _lose(self, nbytes: int) -> tuple[int, int]:
        """(packets sent again, round trips that it took) for one frame."""
        loss = self.channel.loss
        if loss <= 0.0:
            return 0, 0
        under_way, lost, rounds = -(-nbytes // PACKET_BYTES), 0, 0
        while under_way and rounds < _MOST_ROUNDS:
            under_way = sum(self._random.random() < loss for _ in range(under_way))
            lost += under_way
            rounds += under_way > 0
        return lost, rounds
