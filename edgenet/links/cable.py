"""The second connection of a link: the one that carries its frames.

A link has two connections, because a beat must get through while a long message is under way. The
handshake is held on the first. The dialer then opens the second at the same address, and each end
proves there, with the session's token, that it is the one that shook hands; along go the terms: how
large a frame this end is ready to receive. Both ends' words have one layout and the length of a
greeting, so that a listener can tell neither from the other by its length:

| bytes | field |
| --- | --- |
| 4 | magic `EDGC` |
| 4 | largest frame that this end receives (big-endian) |
| 16 | which session: the start of HMAC(token, "cable") |
| 32 | HMAC(token, "dialer" or "acceptor"; the 24 bytes before; in an answer the opening's, too) |
| 144 | zero |

An opening works once: it names a session that this node expects, and from then on it expects it no
more. So a recorded one is worth nothing.
"""

from __future__ import annotations

import hmac
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgenet.links.handshake import GREETING_BYTES, Session, read_exactly
from edgenet.links.sizes import KIB, MAX_FRAME_BYTES

MAGIC = b"EDGC"
OPENING_BYTES = GREETING_BYTES
_TERMS = struct.Struct("!4sI16s")
_MAC_BYTES = 32
_PADDING = bytes(OPENING_BYTES - _TERMS.size - _MAC_BYTES)


@dataclass
class Cable:
    """A connection that is proven, and what the peer said about it."""

    sock: socket.socket
    """Connected; owned by whoever took the cable."""
    peer_frame_bytes: int
    """The largest frame that the peer receives."""


@dataclass
class _Slot:
    session: Session
    frame_bytes: int
    came: threading.Event = field(default_factory=threading.Event)
    cable: Cable | None = None


class Cables:
    """The sessions whose second connection this node, which was dialed, still expects."""

    def __init__(self) -> None:
        self._slots: dict[bytes, _Slot] = {}
        self._lock = threading.Lock()

    @contextmanager
    def expected(self, session: Session, frame_bytes: int) -> Iterator[Callable[[float], Cable]]:
        """Within the block `session` may open its cable; what is yielded waits for it until a
        deadline (time.monotonic) and raises ConnectionError if it did not come."""
        slot, name = _Slot(session, frame_bytes), _name(session)

        def take(deadline: float) -> Cable:
            if not slot.came.wait(max(0.0, deadline - time.monotonic())) or slot.cable is None:
                raise ConnectionError("its second connection did not come")
            cable, slot.cable = slot.cable, None
            return cable

        with self._lock:
            self._slots[name] = slot
        try:
            yield take
        finally:
            with self._lock:
                self._slots.pop(name, None)
            if slot.cable is not None:
                slot.cable.sock.close()

    def arrive(
        self, caller: socket.socket, deadline: float, proven: Callable[[], None] = lambda: None
    ) -> None:
        """Serve a caller who opens a cable: its owner is told, or it is hung up on."""
        opening = read_exactly(caller, OPENING_BYTES, deadline)
        frame_bytes, name = _parse(opening)
        with self._lock:
            slot = self._slots.get(name)
            right = slot is not None and _is_from("dialer", slot.session, opening)
            if right:
                del self._slots[name]
        if slot is None or not right:
            raise ConnectionError("nobody expects this cable")
        proven()
        caller.settimeout(max(0.001, deadline - time.monotonic()))
        caller.sendall(_opening("acceptor", slot.session, slot.frame_bytes, opening))
        slot.cable = Cable(caller, frame_bytes)
        slot.came.set()


def open_cable(
    address: tuple[str, int], session: Session, frame_bytes: int, deadline: float
) -> Cable:
    """The dialer's part.

    Raises:
        OSError: nobody answers there, or not who shook hands, or not in time.
    """
    sock = socket.create_connection(address, timeout=max(0.001, deadline - time.monotonic()))
    try:
        opening = _opening("dialer", session, frame_bytes)
        sock.sendall(opening)
        answer = read_exactly(sock, OPENING_BYTES, deadline)
        peer_frame_bytes, _ = _parse(answer)
        if not _is_from("acceptor", session, answer, opening):
            raise ConnectionError("terms that were altered on the way")
        return Cable(sock, peer_frame_bytes)
    except BaseException:
        sock.close()
        raise


def _name(session: Session) -> bytes:
    return hmac.digest(session.token, b"cable", "sha256")[:16]


def _opening(role: str, session: Session, frame_bytes: int, before: bytes = b"") -> bytes:
    terms = _TERMS.pack(MAGIC, frame_bytes, _name(session))
    return terms + _mac(role, session, terms, before) + _PADDING


def _mac(role: str, session: Session, terms: bytes, before: bytes) -> bytes:
    return hmac.digest(session.token, role.encode() + terms + before[: _TERMS.size], "sha256")


def _is_from(role: str, session: Session, opening: bytes, before: bytes = b"") -> bool:
    terms, rest = opening[: _TERMS.size], opening[_TERMS.size :]
    right = _mac(role, session, terms, before) + _PADDING
    return hmac.compare_digest(rest, right)


def _parse(opening: bytes) -> tuple[int, bytes]:
    """Frame size and session. Raises ConnectionError: that is no opening."""
    magic, frame_bytes, name = _TERMS.unpack_from(opening)
    if magic != MAGIC or not KIB <= frame_bytes <= MAX_FRAME_BYTES:
        raise ConnectionError("terms out of bounds")
    return frame_bytes, name
