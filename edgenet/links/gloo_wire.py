"""Wires over gloo. What they know about it, all of it measured:

- `Work.wait` with a timeout that runs out closes the pair for good. So frames are waited for
  without end, on a thread of the link; and so a pair can be closed at will, by waiting a
  millisecond for a message that never comes (`_fuse`), which wakes every other waiter.
- A message larger than the posted receive aborts the process. So a peer is told our frame size,
  under the session's token, before it may send.
- A message without a posted receive costs a round trip. So a ring of receives is always posted.
- A `Work` that is dropped before it is waited for takes its message along. So they are kept.
- Construction, `send`, `recv` and `wait` release the GIL; construction takes about 1 ms, once both
  ends know each other's address.
"""

from __future__ import annotations

import hmac
import socket
import threading
from collections import deque
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from edgenet.links.cable import OPENING_BYTES, Cable
from edgenet.links.gloo import MAC_BYTES, Device, Terms, adopted, group, until
from edgenet.links.handshake import Session
from edgenet.links.nowait import receive_now, send_now
from edgenet.links.sizes import Ring
from edgenet.links.wire import ABRUPT, WireClosed

_FRAMES, _FUSE, _GREETING = 1, 2, 3  # tags: messages of one never match receives of another
_FOREVER = timedelta(days=3650)
_IN_FLIGHT = 3
"""Full frames handed to gloo and not waited for: while one is written the next is ready."""
_MOST_IN_FLIGHT = 16
"""Frames of any size; each holds on to its memory."""


class GlooWire:
    """`wire.Wire` over a process group; beats go over the socket that the handshake was held on.

    Beats have a connection of their own, because a beat must get through while a long message is
    under way in the same direction, and be heard while nobody reads messages.

    Args:
        sock: connected to the peer, after the handshake; owned from here on.
        session: what the handshake gave.
        rank: 0 at the acceptor, 1 at the dialer.
        ring: the receive buffers.
        gloo_device: of this process.
        deadline: time.monotonic by which the group must stand.
        cable: the connection for the frames, owned from here on; None: gloo makes its own.

    Attributes:
        setup_bytes: what setting it up sent in each direction, after the handshake.

    Raises:
        WireClosed: the peer hung up, or the time was over.
    """

    def __init__(
        self,
        sock: socket.socket,
        session: Session,
        rank: int,
        ring: Ring,
        gloo_device: Device,
        deadline: float,
        cable: Cable | None = None,
    ) -> None:
        self._sock, self._peer = sock, 1 - rank
        self._lock, self._closed = threading.Lock(), False
        self._sent: deque[tuple[Any, Tensor]] = deque()
        self._sent_bytes = 0
        self._posted: deque[tuple[Any, Tensor]] = deque()
        self._last: Tensor | None = None
        self.read_bytes = ring.frame_bytes
        try:
            if cable is None:
                terms = Terms(sock, session, ring.frame_bytes, deadline)
                pair: Any = group(terms, rank, gloo_device, deadline)
                self.write_bytes, self.setup_bytes = terms.peer_frame_bytes, terms.nbytes
            else:
                pair = adopted(cable, rank, gloo_device, deadline)
                self.write_bytes, self.setup_bytes = cable.peer_frame_bytes, OPENING_BYTES
            self._group = pair
            self._fuse = pair.recv([torch.empty(8, dtype=torch.uint8)], self._peer, _FUSE)
            for _ in range(ring.depth):
                self._post(torch.empty(ring.frame_bytes, dtype=torch.uint8))
            if cable is None:
                self._greet(pair, session, rank, deadline)
        except (RuntimeError, OSError) as error:
            sock.close()
            if cable is not None:
                cable.sock.close()
            raise WireClosed(f"could not be linked ({_first_line(error)})") from None
        sock.setblocking(False)

    def write(self, frame: Tensor) -> None:
        """See `Wire.write`."""
        try:
            work = self._living().send([frame], self._peer, _FRAMES)
            self._sent.append((work, frame))
            self._sent_bytes += frame.numel()
            while self._sent_bytes > _IN_FLIGHT * self.write_bytes:
                self._await_oldest()
            if len(self._sent) > _MOST_IN_FLIGHT:
                self._await_oldest()
        except (RuntimeError, IndexError) as error:
            raise self._why(error) from None

    def ready(self) -> bool:
        """See `Wire.ready`."""
        few = len(self._sent) < _MOST_IN_FLIGHT
        return few and self._sent_bytes <= (_IN_FLIGHT - 1) * self.write_bytes

    def flush(self) -> None:
        """See `Wire.flush`."""
        try:
            while self._sent:
                self._await_oldest()
        except (RuntimeError, IndexError) as error:
            raise self._why(error) from None

    def read(self) -> Tensor:
        """See `Wire.read`."""
        try:
            if self._last is not None:
                self._post(self._last)
                self._last = None
            self._living()
            work, buffer = self._posted.popleft()
            work.wait(_FOREVER)
        except (RuntimeError, IndexError) as error:
            raise self._why(error) from None
        self._last = buffer
        return buffer

    def beat(self) -> None:
        """See `Wire.beat`."""
        with self._lock:  # so that the number is still this socket's
            send_now(self._sock.fileno(), b"\1")

    def heard(self) -> int:
        """See `Wire.heard`."""
        with self._lock:
            return receive_now(self._sock.fileno())

    def close(self) -> None:
        """See `Wire.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with suppress(RuntimeError):  # that is what it is for
            self._fuse.wait(timedelta(milliseconds=1))
        with self._lock:
            self._sock.close()
        self._group = None
        self._posted.clear()
        self._sent.clear()

    def _await_oldest(self) -> None:
        work, frame = self._sent.popleft()
        self._sent_bytes -= frame.numel()
        work.wait(_FOREVER)

    def _post(self, buffer: Tensor) -> None:
        self._posted.append((self._living().recv([buffer], self._peer, _FRAMES), buffer))

    def _living(self) -> Any:
        if self._group is None:
            raise RuntimeError("closed")
        return self._group

    def _greet(self, pair: Any, session: Session, rank: int, deadline: float) -> None:
        """Show each other, over gloo itself, that the group joins the two that shook hands."""
        theirs = torch.empty(MAC_BYTES, dtype=torch.uint8)
        awaited = pair.recv([theirs], self._peer, _GREETING)
        mine = torch.frombuffer(bytearray(_shown(session, rank)), dtype=torch.uint8)
        sent = pair.send([mine], self._peer, _GREETING)
        awaited.wait(until(deadline))
        sent.wait(until(deadline))
        self.setup_bytes += MAC_BYTES
        if not hmac.compare_digest(theirs.numpy().tobytes(), _shown(session, self._peer)):
            raise ConnectionError("somebody else answered")

    def _why(self, error: Exception) -> WireClosed:
        if self._closed:
            return WireClosed("was left by this node")
        if "closed by peer" in str(error) or "reset by peer" in str(error):
            return WireClosed(ABRUPT)
        return WireClosed(f"lost the connection ({_first_line(error)})")


def _shown(session: Session, rank: int) -> bytes:
    return hmac.digest(session.token, b"gloo%d" % rank, "sha256")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
