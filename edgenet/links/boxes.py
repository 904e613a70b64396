"""The outbox, the inbox and the fate of one link: all that its threads share, under one lock."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from edgenet.errors import LinkError, PeerLost
from edgenet.links.codec import Packet
from edgenet.links.reader import Message


@dataclass(frozen=True)
class Outgoing:
    """What the writer has to do next."""

    packet: Packet | None
    """To write; None: only flush the wire."""
    queued_at: float
    """time.monotonic of its `send`."""


_FLUSH = Outgoing(None, 0.0)


class Boxes:
    """Two queues bounded in bytes. A message of any size enters an empty one.

    Args:
        out_bytes: bound of the outbox.
        in_bytes: bound of the inbox.
    """

    def __init__(self, out_bytes: int, in_bytes: int) -> None:
        self._out_bytes, self._in_bytes = out_bytes, in_bytes
        self._out: deque[Outgoing] = deque()
        self._in: deque[tuple[Message, float]] = deque()
        self._out_sum = self._in_sum = 0
        self._senders = 0
        self._progress_at = 0.0
        self._writer_idle = self._lent = self._flush_due = False
        self._silent = self._closing = self._writer_done = self._reader_done = False
        self._end: tuple[type[LinkError], str] | None = None
        lock = self._lock = threading.Lock()
        self._out_room, self._out_filled = threading.Condition(lock), threading.Condition(lock)
        self._in_room, self._in_filled = threading.Condition(lock), threading.Condition(lock)
        self._fate = threading.Condition(lock)

    # The user's side.

    def post(self, packet: Packet) -> bool:
        """Queue a packet, when there is room; False if the link is over or silent instead."""
        size = packet.header.total_bytes
        with self._lock:
            if not self._over() and not self._room(size):
                self._senders += 1
                self._in_room.notify()
                try:
                    self._out_room.wait_for(lambda: self._over() or self._room(size))
                finally:
                    self._senders -= 1
            if self._over():
                return False
            self._out.append(Outgoing(packet, time.monotonic()))
            self._out_sum += size
            self._out_filled.notify()
            return True

    def borrow_wire(self) -> bool:
        """Whether the caller may write to the wire itself, the writer having nothing to do: saves a
        small message the way through another thread. To be followed by `return_wire`."""
        with self._lock:
            idle = self._writer_idle and not self._out  # notified, it may not have woken up yet
            self._lent = idle and not self._lent and not self._over()
            return self._lent

    def return_wire(self, *, flush: bool) -> None:
        """Give the wire back to the writer, which is to `flush` it or may sleep on."""
        with self._lock:
            self._lent, self._flush_due = False, flush
            if flush or self._out or self._over():
                self._out_filled.notify()

    def take(self, timeout_s: float | None) -> Message | None:
        """The oldest message; None when the time is over, or the link is over or silent."""
        with self._lock:
            if not self._in:
                self._in_filled.wait_for(lambda: bool(self._in) or self._over(), timeout_s)
            if not self._in:
                return None
            message, _ = self._in.popleft()
            self._in_sum -= message.header.total_bytes
            self._in_room.notify()
            return message

    def crowded(self, nbytes: int) -> bool:
        """Whether a packet of `nbytes` would have to wait."""
        with self._lock:
            return not self._room(nbytes)

    def waiting_since(self) -> float | None:
        """time.monotonic of the oldest message's arrival; None if there is none."""
        with self._lock:
            return self._in[0][1] if self._in else None

    def fate(self) -> tuple[tuple[type[LinkError], str] | None, bool]:
        """How the link ended (None: it has not), and whether the peer is silent."""
        with self._lock:
            closed = (PeerLost, "was left by this node") if self._closing else None
            return closed or self._end, self._silent

    # The writer's side.

    def next_out(self) -> Outgoing | None:
        """Wait for something to do; None: say goodbye, nothing more will come."""
        with self._lock:
            self._writer_idle = not self._out
            self._out_filled.wait_for(self._something_to_do)
            self._writer_idle = False
            if self._out:
                self._flush_due = True
                return self._out.popleft()
            if self._flush_due:
                self._flush_due = False
                return _FLUSH
            return None

    def wrote(self, nbytes: int) -> None:
        """So much of the outbox has left."""
        with self._lock:
            self._out_sum = max(0, self._out_sum - nbytes)
            self._progress_at = time.monotonic()
            self._out_room.notify_all()

    def writer_done(self) -> None:
        """The writer has said goodbye, or cannot."""
        with self._lock:
            self._writer_done = True
            self._fate.notify_all()

    # The reader's side.

    def await_room_in(self) -> None:
        """Wait until another message may enter the inbox."""
        with self._lock:
            self._in_room.wait_for(
                lambda: self._in_sum < self._in_bytes or self._senders or self._closing
            )

    @property
    def full(self) -> bool:
        """Whether the reader has to wait until messages are taken."""
        with self._lock:
            return self._in_sum >= self._in_bytes

    def deliver(self, message: Message) -> None:
        """Put a message into the inbox; it is dropped if this end is closing. A peer that sends is
        not silent."""
        with self._lock:
            self._silent = False
            if not self._closing:
                self._in.append((message, time.monotonic()))
                self._in_sum += message.header.total_bytes
                self._in_filled.notify()

    def reader_done(self) -> None:
        """Nothing more will be read."""
        with self._lock:
            self._reader_done = True
            self._fate.notify_all()

    # The fate.

    @property
    def silent(self) -> bool:
        """Whether the peer is silent, read without the lock: it may change at any moment."""
        return self._silent

    def finish(self, error: type[LinkError], what: str) -> None:
        """The link is over; only the first reason counts. What waits in the outbox is dropped."""
        with self._lock:
            if self._end is None:
                self._end = error, what
            self._out.clear()
            self._out_sum = 0
            self._wake_all()

    def set_silent(self, silent: bool) -> bool:
        """Note whether the peer is silent; returns whether that is news."""
        with self._lock:
            news, self._silent = silent != self._silent, silent
            if news:
                self._wake_all()
            return news

    def start_close(self) -> None:
        """No more sends; what was received is dropped, so that the peer's goodbye gets through."""
        with self._lock:
            self._closing = True
            self._progress_at = time.monotonic()
            self._in.clear()
            self._in_sum = 0
            self._wake_all()

    def await_close(self, linger_s: float) -> None:
        """Wait until both ends have said goodbye; not longer than `linger_s` without progress,
        and not for a silent peer."""
        with self._lock:
            while not self._closed():
                left_s = self._progress_at + linger_s - time.monotonic()
                if left_s <= 0.0:
                    return
                self._fate.wait_for(self._closed, left_s)

    def _something_to_do(self) -> bool:
        over = self._closing or self._end is not None
        return not self._lent and (bool(self._out) or self._flush_due or over)

    def _closed(self) -> bool:
        return self._silent or (self._writer_done and self._reader_done)

    def _over(self) -> bool:
        return self._end is not None or self._silent or self._closing

    def _room(self, nbytes: int) -> bool:
        return self._out_sum == 0 or self._out_sum + nbytes <= self._out_bytes

    def _wake_all(self) -> None:
        for condition in (self._out_room, self._out_filled, self._in_room, self._in_filled):
            condition.notify_all()
        self._fate.notify_all()
