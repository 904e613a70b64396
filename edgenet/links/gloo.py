"""Wires over gloo: every link is a process group of its own with two ranks.

The only file that touches torch.distributed. What it knows about gloo, all of it measured:

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
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch.distributed import (  # type: ignore[attr-defined]
    PrefixStore,
    ProcessGroupGloo,
    Store,
    TCPStore,
)

from edgenet.links.handshake import Session, read_exactly
from edgenet.links.nowait import receive_now, send_now
from edgenet.links.sizes import MAX_FRAME_BYTES, Ring
from edgenet.links.wire import ABRUPT, WireClosed

_FRAMES, _FUSE, _GREETING = 1, 2, 3  # tags: messages of one never match receives of another
_FOREVER = timedelta(days=3650)
_IN_FLIGHT = 3
"""Full frames handed to gloo and not waited for: while one is written the next is ready."""
_MOST_IN_FLIGHT = 16
"""Frames of any size; each holds on to its memory."""
_TERMS = struct.Struct("!IH")
_MAC_BYTES = 32
_ADDRESS_BYTES = 4096
_LEAST_FRAME_BYTES = 1024


def device(address: str) -> Any:
    """The process's gloo device: a listening socket on `address` and one thread, for all links."""
    return ProcessGroupGloo.create_device(hostname=address)


@contextmanager
def open_store(host: str, port: int, prefix: str, *, serve: bool) -> Iterator[PrefixStore]:
    """torch's own key-value store, as torchrun serves it; `serve` it where nobody else does."""
    store = TCPStore(host, port, None, serve, timedelta(seconds=60), wait_for_workers=False)
    yield PrefixStore(prefix, store)


class _Terms(Store):
    """A store for two: what one end sets is sent to the other, under the session's token.

    gloo asks a store for nothing but both ends' addresses. The frame size travels along.
    """

    def __init__(
        self, sock: socket.socket, session: Session, frame_bytes: int, deadline: float
    ) -> None:
        super().__init__()
        self._sock, self._session, self._deadline = sock, session, deadline
        self._frame_bytes = frame_bytes
        self._mine: dict[str, bytes] = {}
        self._theirs: bytes | None = None
        self.peer_frame_bytes = 0
        self.nbytes = 0
        """Length of this end's terms."""

    def set(self, key: str, value: Any) -> None:
        """Send this end's address."""
        self._mine[key] = value
        terms = _TERMS.pack(self._frame_bytes, len(value)) + value
        self._sock.sendall(terms + self._mac(key, terms))
        self.nbytes = len(terms) + _MAC_BYTES

    def get(self, key: str) -> bytes:
        """This end's address, or wait for the other's."""
        if key in self._mine:
            return self._mine[key]
        if self._theirs is None:
            self._theirs = self._receive(key)
        return self._theirs

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        """Wait until all keys are there."""
        for key in keys:
            self.get(key)

    def _receive(self, key: str) -> bytes:
        head = read_exactly(self._sock, _TERMS.size, self._deadline)
        frame_bytes, nbytes = _TERMS.unpack(head)
        if nbytes > _ADDRESS_BYTES or not _LEAST_FRAME_BYTES <= frame_bytes <= MAX_FRAME_BYTES:
            raise ConnectionError("terms out of bounds")
        value = read_exactly(self._sock, nbytes, self._deadline)
        mac = read_exactly(self._sock, _MAC_BYTES, self._deadline)
        if not hmac.compare_digest(mac, self._mac(key, head + value)):
            raise ConnectionError("terms that were altered on the way")
        self.peer_frame_bytes = frame_bytes
        return value

    def _mac(self, key: str, terms: bytes) -> bytes:
        return hmac.digest(self._session.token, key.encode() + terms, "sha256")


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
        gloo_device: Any,
        deadline: float,
    ) -> None:
        self._sock, self._peer = sock, 1 - rank
        self._lock, self._closed = threading.Lock(), False
        self._sent: deque[tuple[Any, Tensor]] = deque()
        self._sent_bytes = 0
        self._posted: deque[tuple[Any, Tensor]] = deque()
        self._last: Tensor | None = None
        self.read_bytes = ring.frame_bytes
        terms = _Terms(sock, session, ring.frame_bytes, deadline)
        try:
            group: Any = _group(terms, rank, gloo_device, deadline)
            self._group = group
            self.write_bytes = terms.peer_frame_bytes
            self.setup_bytes = terms.nbytes + _MAC_BYTES
            self._fuse = group.recv([torch.empty(8, dtype=torch.uint8)], self._peer, _FUSE)
            for _ in range(ring.depth):
                self._post(torch.empty(ring.frame_bytes, dtype=torch.uint8))
            self._greet(group, session, rank, deadline)
        except (RuntimeError, OSError) as error:
            sock.close()
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

    def _greet(self, group: Any, session: Session, rank: int, deadline: float) -> None:
        """Show each other, over gloo itself, that the group joins the two that shook hands."""
        theirs = torch.empty(_MAC_BYTES, dtype=torch.uint8)
        awaited = group.recv([theirs], self._peer, _GREETING)
        mine = torch.frombuffer(bytearray(_shown(session, rank)), dtype=torch.uint8)
        sent = group.send([mine], self._peer, _GREETING)
        awaited.wait(_until(deadline))
        sent.wait(_until(deadline))
        if not hmac.compare_digest(theirs.numpy().tobytes(), _shown(session, self._peer)):
            raise ConnectionError("somebody else answered")

    def _why(self, error: Exception) -> WireClosed:
        if self._closed:
            return WireClosed("was left by this node")
        if "closed by peer" in str(error) or "reset by peer" in str(error):
            return WireClosed(ABRUPT)
        return WireClosed(f"lost the connection ({_first_line(error)})")


def _group(terms: _Terms, rank: int, gloo_device: Any, deadline: float) -> Any:
    options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._devices = [gloo_device]
    options._threads = 1
    options._timeout = _until(deadline)
    return ProcessGroupGloo(terms, rank, 2, options)


def _shown(session: Session, rank: int) -> bytes:
    return hmac.digest(session.token, b"gloo%d" % rank, "sha256")


def _until(deadline: float) -> timedelta:
    return timedelta(seconds=max(0.001, deadline - time.monotonic()))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
