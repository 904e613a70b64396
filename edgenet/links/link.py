"""The engine behind a link: two verbs in front, a wire behind, a thread for each direction.

    send -> encode -> outbox -> writer thread -> wire ... wire -> reader thread -> inbox -> recv

Both boxes are bounded in bytes. A full outbox makes `send` wait; a full inbox makes the reader
stop, which makes the peer's writer wait, which fills the peer's outbox: that is the
back-pressure. While a `send` of a link waits, its reader goes on beyond the bound, so that two
nodes that send to each other at the same time never wait for each other for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from edgenet.errors import LinkTimeout, PeerLeft, PeerLost, PeerSilent, ProtocolError
from edgenet.links.boxes import Boxes
from edgenet.links.codec import Packet, decode, goodbye
from edgenet.links.frame import FrameError
from edgenet.links.meter import Count
from edgenet.links.pace import Pace, hold
from edgenet.links.protocol import Item, Kind
from edgenet.links.reader import Message, Reader
from edgenet.links.shared import Shared
from edgenet.links.wire import ABRUPT, Wire, WireClosed

_STOPPED = "cannot be reached any more (this node's own log.txt says why)"
_BEATS_COUNTED = 60
"""Beats are metered by the minute: with hundreds of links they would wait for the meter's lock."""
_DIRECT_BYTES = 256 * 1024
"""Messages up to this size are written by the sending thread itself, if the writer is idle."""
_HUNG_UP_PULSES = 2


class WireLink:
    """`protocol.Link` over any wire. Call `start` once.

    Args:
        node: this end.
        peer: the other.
        wire: joined to the peer already.
        shared: what this node's links have in common.
        pace: holds back what is sent; None sends at once.
    """

    def __init__(
        self, node: str, peer: str, wire: Wire, shared: Shared, *, pace: Pace | None = None
    ) -> None:
        self.node, self.peer = node, peer
        self.on_change: Callable[[], None] | None = None
        """Called, on any thread, when a message, the end or silence has come."""
        self._wire, self._shared, self._pace = wire, shared, pace
        limits = shared.limits
        out_bytes = pace.queue_bytes if pace else limits.outbox_bytes
        self._boxes = Boxes(out_bytes, limits.inbox_bytes)
        self._reader = Reader(wire, shared.slabs, limits.message_bytes)
        self._frames_written = 0
        self._frames_before = 0, 0
        self._beats = {"out": 0, "in": 0}
        self._quiet_s = 0.0
        self._hung_up = 0
        self._abandoned = threading.Event()
        self._threads = (
            threading.Thread(target=self._write_all, name=f"to {peer}", daemon=True),
            threading.Thread(target=self._read_all, name=f"from {peer}", daemon=True),
        )

    def start(self) -> WireLink:
        """Start the threads; returns the link itself."""
        for thread in self._threads:
            thread.start()
        if self._shared.heartbeat:
            self._shared.heartbeat.watch(self)
        return self

    def send(self, *items: Item, kind: Kind = Kind.CONTROL) -> None:
        """See `protocol.Link.send`."""
        self.post(self._shared.encode(items, kind))

    def post(self, packet: Packet) -> None:
        """Send a message that is encoded already (a broadcast). Raises as `send`."""
        start = time.monotonic()
        if self._pace is None and self._post_directly(packet):
            return
        try:
            while not self._boxes.post(packet):
                self.check()
        finally:
            self._shared.note_wait("send", "send", start, peer=self.peer)

    def recv(self, *, timeout_s: float | None = None) -> Any:
        """See `protocol.Link.recv`."""
        self._shared.settle()
        start = time.monotonic()
        try:
            message = self._await_message(timeout_s)
        finally:
            self._shared.note_wait("wait", "recv", start, peer=self.peer)
        return self._opened(message)

    def crowded(self, nbytes: int) -> bool:
        """Whether `post` of so many bytes would wait."""
        return self._boxes.crowded(nbytes)

    def waiting_since(self) -> float | None:
        """When (time.monotonic) the oldest message that `recv` has not taken came; or None."""
        return self._boxes.waiting_since()

    @property
    def ended(self) -> bool:
        """Whether the peer is gone, or this end is closed."""
        return self._boxes.fate()[0] is not None

    @property
    def usable(self) -> bool:
        """Whether the peer is there and heard."""
        return self._boxes.fate() == (None, False)

    def check(self) -> None:
        """Raise PeerLost, PeerSilent or ProtocolError if the link is over or silent."""
        end, silent = self._boxes.fate()
        step = self._shared.journal.round
        if end is not None:
            raise end[0](self.node, self.peer, end[1], step=step)
        if silent:
            what = f"was not heard for {self._quiet_s:.1f} s"
            raise PeerSilent(self.node, self.peer, what, step=step)

    def start_close(self) -> None:
        """Begin to close, so that many links can do it side by side: goodbye after what waits."""
        self._boxes.start_close()

    def close(self, linger_s: float | None = None) -> None:
        """See `protocol.Link.close`.

        Args:
            linger_s: how long to wait without progress; None: as its limits say.
        """
        self.start_close()
        self._boxes.await_close(self._shared.limits.linger_s if linger_s is None else linger_s)
        self.abandon()

    def abandon(self) -> None:
        """Close at once, without waiting for anybody."""
        if self._abandoned.is_set():
            return
        self._abandoned.set()
        self._boxes.finish(PeerLost, "was left by this node")
        if self._shared.heartbeat:
            self._shared.heartbeat.forget(self)
            self._count_beats()
        self._wire.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(1.0)

    def pulse(self, awake_s: float, silence_s: float) -> None:
        """See `heartbeat.Watched`. A link on which frames flow needs no beats."""
        read, written = self._reader.frames, self._frames_written
        heard, hung_up = read != self._frames_before[0], False
        cut = self._pace is not None and self._pace.cut(time.monotonic())
        if written == self._frames_before[1] and not cut:
            self._wire.beat()
            self._beats["out"] += 1
        if not heard:
            beats = self._wire.heard()
            self._beats["in"] += max(0, beats)
            heard = beats > 0
            hung_up = beats < 0 and not self._boxes.full
        self._note_hang_up(hung_up)
        self._frames_before = read, written
        self._quiet_s = 0.0 if heard else self._quiet_s + awake_s
        silent = self._quiet_s >= silence_s
        if silent != self._boxes.silent and self._boxes.set_silent(silent):
            self._tell()
        if self._beats["out"] >= _BEATS_COUNTED:
            self._count_beats()

    def _note_hang_up(self, hung_up: bool) -> None:
        """A dead peer's frames end with an error; but now and then gloo never reports it. The
        beats' socket does: closed at two pulses in a row, with no frame between, it is the end."""
        self._hung_up = self._hung_up + 1 if hung_up else 0
        if self._hung_up == _HUNG_UP_PULSES and not self.ended:
            self._boxes.finish(PeerLost, ABRUPT)
            self._wire.close()
            self._tell()

    def _post_directly(self, packet: Packet) -> bool:
        """Write a small message on this thread, if that cannot block."""
        most = min(self._wire.write_bytes, _DIRECT_BYTES)
        if packet.header.total_bytes > most or not self._boxes.borrow_wire():
            return False
        ready = False
        try:
            ready = self._wire.ready()
            if ready:
                self._write(packet, 0.0)
        except WireClosed as error:
            self._boxes.finish(PeerLost, str(error))
            self.check()
        finally:
            self._boxes.return_wire(flush=not self._wire.ready())
        return ready

    def _write_all(self) -> None:
        try:
            while (todo := self._boxes.next_out()) is not None:
                if todo.packet is None:
                    self._wire.flush()
                else:
                    self._write(todo.packet, todo.queued_at)
                del todo  # its memory goes back to the slabs while this thread waits
            if not self._abandoned.is_set():
                self._wire.write(goodbye(next(self._shared.sequence)).blob)
                self._wire.flush()
        except WireClosed as error:
            self._boxes.finish(PeerLost, str(error))
        finally:
            self._boxes.finish(PeerLost, _STOPPED)
            self._boxes.writer_done()
            self._tell()

    def _write(self, packet: Packet, queued_at: float) -> None:
        blob, header = packet.blob, packet.header
        pace = None if header.kind is Kind.EVALUATION else self._pace
        for start in range(0, header.total_bytes, self._wire.write_bytes):
            frame = blob[start : start + self._wire.write_bytes]
            if pace is not None:
                hold(pace, frame.numel(), queued_at, self._abandoned)
            self._wire.write(frame)
            self._frames_written += 1
            self._boxes.wrote(frame.numel())
        self._count_message("out", Message(blob, header))

    def _read_all(self) -> None:
        try:
            while True:
                self._boxes.await_room_in()
                message = self._reader.next()
                if self._reader.goodbye:
                    self._boxes.finish(PeerLeft, "left the run")
                    break
                self._count_message("in", message)
                self._boxes.deliver(message)
                del message
                self._tell()
        except WireClosed as error:
            self._boxes.finish(PeerLost, str(error))
        except FrameError as error:
            self._refuse(error)
        finally:
            self._boxes.finish(PeerLost, _STOPPED)
            self._boxes.reader_done()
            self._tell()

    def _await_message(self, timeout_s: float | None) -> Message:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        left_s = timeout_s
        while (message := self._boxes.take(left_s)) is None:
            self.check()
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            if left_s == 0.0:
                what, step = f"sent nothing for {timeout_s:.3g} s", self._shared.journal.round
                raise LinkTimeout(self.node, self.peer, what, step=step)
        return message

    def _opened(self, message: Message) -> Any:
        try:
            items = decode(message.blob, message.header)
        except FrameError as error:
            self._refuse(error)
            self.check()
            raise  # not reached: a refused link is over
        return items[0] if len(items) == 1 else items

    def _refuse(self, error: FrameError) -> None:
        """The peer talks nonsense: hang up."""
        self._boxes.finish(ProtocolError, str(error))
        self._wire.close()

    def _count_message(self, direction: str, message: Message) -> None:
        header = message.header
        overhead = header.total_bytes - header.payload_bytes
        count = Count(payload=header.payload_bytes, overhead=overhead, messages=1,
                      later_bytes=message.later_bytes, later_s=message.later_s)  # fmt: skip
        self._shared.meter.add(self.peer, direction, header.kind, header.round, count)

    def _count_beats(self) -> None:
        journal, meter = self._shared.journal, self._shared.meter
        for direction, beats in self._beats.items():
            count = Count(overhead=beats)  # a byte each
            meter.add(self.peer, direction, Kind.CONTROL, journal.round, count)
            self._beats[direction] = 0

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change()
