"""The relay's model of a network: lanes and pools that decide when each packet arrives.

No sockets and no clock in here: packets are handed in with the time, and handed out when they are
due. A packet is lost by chance, or because too many bytes wait before it; else it is transmitted
behind the packets before it, and arrives a delay after that, in order.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

from edgenet.topology.spec import Channel

AHEAD_S = 0.5e-3
"""A pool decides this long ahead who transmits: fewer wake-ups, at the price that a newcomer waits
that much longer for its first turn."""


class Queue(Protocol):
    """Something that acts at a time of its own."""

    def fire(self, now: float) -> None:
        """Do what is due."""

    @property
    def due(self) -> float:
        """When to `fire` next; inf = only after the next packet."""


class Lane:
    """One direction of one hop.

    Args:
        channel: what it does to packets.
        deliver: takes each packet that has arrived.
        seed: of its losses and jitter.
    """

    def __init__(
        self, channel: Channel, deliver: Callable[[bytes], object], seed: str = ""
    ) -> None:
        self._random, self._deliver = random.Random(seed), deliver
        self._free = 0.0  # when the transmitter is idle again
        self._last = 0.0  # arrival of the packet before
        self._flying: deque[tuple[float, float, bytes]] = deque()  # arrival, end of transmission
        self.packets = self.dropped = 0
        self.use(channel)

    def use(self, channel: Channel) -> None:
        """Go on with another channel, except for what is on its way already."""
        self.channel = channel
        self.byte_s = 8 / channel.rate_bps
        self._delay, self._jitter, self._loss = channel.delay_s, channel.jitter_s, channel.loss
        self._queue_s = channel.queue_bytes * self.byte_s

    @property
    def due(self) -> float:
        """When its next packet arrives."""
        return self._flying[0][0] if self._flying else math.inf

    @property
    def ends_at(self) -> float:
        """When the last transmission so far ends."""
        return self._free

    def offer(self, packet: bytes, now: float) -> bool:
        """Send a packet; True if the lane was empty, so that its `due` has changed."""
        if self.chance():
            return False
        start = self._free if self._free > now else now
        if start - now > self._queue_s:
            self.dropped += 1
            return False
        return self.transmit(packet, start + len(packet) * self.byte_s)

    def chance(self) -> bool:
        """Whether a packet is lost here and now."""
        lost = self._loss > 0 and self._random.random() < self._loss
        self.dropped += lost
        return lost

    def transmit(self, packet: bytes, end: float) -> bool:
        """Have a packet fly whose transmission ends at `end`; True if it is the only one."""
        self._free = end
        arrival = end + self._delay
        if self._jitter:
            arrival += self._random.uniform(-self._jitter, self._jitter)
        self._last = arrival = max(arrival, end, self._last)
        self._flying.append((arrival, end, packet))
        return len(self._flying) == 1

    def fire(self, now: float) -> None:
        """Deliver what has arrived."""
        flying = self._flying
        while flying and flying[0][0] <= now:
            packet = flying.popleft()[2]
            self.packets += 1
            self._deliver(packet)

    def change(self, channel: Channel, now: float) -> None:
        """Go on with another channel; what waits for transmission is sent at the new rate, and so
        is what is left of the packet that is being transmitted."""
        waiting: list[bytes] = []
        end = now
        while self._flying and self._flying[-1][1] > now:
            _, end, packet = self._flying.pop()
            waiting.append(packet)
        left = self._left(end - now, waiting[-1]) if waiting else 0.0
        self.use(channel)
        self._last = self._flying[-1][0] if self._flying else 0.0
        self._free = now
        for packet in reversed(waiting):
            self.transmit(packet, self._free + left * len(packet) * self.byte_s)
            left = 1.0

    def resume(self, channel: Channel, now: float) -> float:
        """As `change` for the last packet alone, which is being transmitted or about to be; returns
        when that now ends."""
        _, end, packet = self._flying.pop()
        begun = max(now, end - len(packet) * self.byte_s)
        left = self._left(end - now, packet)
        self.use(channel)
        self._last = self._flying[-1][0] if self._flying else 0.0
        self.transmit(packet, begun + left * len(packet) * self.byte_s)
        return self._free

    def _left(self, seconds: float, packet: bytes) -> float:
        """Which part of a packet is not transmitted yet that needs so long at today's rate."""
        whole = len(packet) * self.byte_s
        return min(1.0, seconds / whole) if whole > 0 else 0.0


class PooledLane:
    """A lane that takes from a pool; the interface is Lane's.

    Args:
        lane: does everything but the waiting.
        pool: whose turns it waits for.
    """

    def __init__(self, lane: Lane, pool: Pool) -> None:
        self.lane, self._pool = lane, pool
        self.waiting: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.tag = 0.0
        """Time on the air that it has had, on the pool's clock."""

    def offer(self, packet: bytes, now: float) -> bool:
        """Send a packet; True if nothing waited before it, so that the pool's `due` may have
        changed."""
        if self.lane.chance():
            return False
        if self.waiting_bytes > self.lane.channel.queue_bytes:
            self.lane.dropped += 1
            return False
        self.waiting.append(packet)
        self.waiting_bytes += len(packet)
        if len(self.waiting) > 1:
            return False
        self._pool.join(self, now)
        return True

    def change(self, channel: Channel, now: float) -> None:
        """Go on with another channel: what has not had its turn yet is sent by it, and so is what
        is left of the packet that has it."""
        self._pool.change(self.lane, channel, now)


class Pool:
    """A medium: one transmitter at a time, and whoever has had the least time on the air is next
    (start-time fair queueing, Goyal et al. 1996, with time in the place of bytes).

    Args:
        started: told which lane has got its first packet.
    """

    def __init__(self, started: Callable[[Lane], None]) -> None:
        self._started = started
        self._free = 0.0
        self._clock = 0.0
        self._turns: list[tuple[float, int, PooledLane]] = []
        self._count = 0

    @property
    def due(self) -> float:
        """When the next turn has to be given."""
        return self._free - AHEAD_S if self._turns else math.inf

    def join(self, lane: PooledLane, now: float) -> None:
        """A lane has something to send."""
        if not self._turns and self._free < now:
            self._free = now
        self._queue(lane)

    def change(self, lane: Lane, channel: Channel, now: float) -> None:
        """A lane goes on with another channel, also with the packet that has the last turn."""
        if lane.ends_at == self._free > now:
            self._free = lane.resume(channel, now)
        else:
            lane.use(channel)

    def _queue(self, lane: PooledLane) -> None:
        self._count += 1  # first come, first served among equals
        heapq.heappush(self._turns, (max(lane.tag, self._clock), self._count, lane))

    def fire(self, now: float) -> None:
        """Give turns until the medium is busy for as long as is decided ahead."""
        while self._turns and self._free <= now + AHEAD_S:
            self._clock, _, lane = heapq.heappop(self._turns)
            packet = lane.waiting.popleft()
            lane.waiting_bytes -= len(packet)
            airtime = len(packet) * lane.lane.byte_s
            lane.tag = self._clock + airtime
            self._free += airtime
            if lane.lane.transmit(packet, self._free):
                self._started(lane.lane)
            if lane.waiting:
                self._queue(lane)


class Agenda:
    """Which queue has to act next. It holds every queue's `due`; earlier times, which have been
    overtaken, do no harm."""

    def __init__(self) -> None:
        self._times: list[tuple[float, int, Queue]] = []
        self._count = 0

    def note(self, queue: Queue) -> None:
        """A queue's `due` has changed."""
        due = queue.due
        if due < math.inf:
            self._count += 1
            heapq.heappush(self._times, (due, self._count, queue))

    def fire(self, now: float) -> float:
        """Let all act whose time has come; returns when the next one does."""
        times = self._times
        while times and times[0][0] <= now:
            queue = heapq.heappop(times)[2]
            if queue.due <= now:
                queue.fire(now)
                self.note(queue)
        return times[0][0] if times else math.inf
