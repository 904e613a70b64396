"""Process groups of two ranks: a link, to gloo. The only file that touches torch.distributed.

gloo's listening port believes everybody, and what a stranger says there can end the process. So it
is shut, and a pair is given a connection on which both ends have proven who they are (`adopt`).
Where that cannot be done, the ends tell each other their addresses under the session's token
(`Terms`), gloo connects by itself, and the wire shows the token once more over it.
"""

from __future__ import annotations

import hmac
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch.distributed import (  # type: ignore[attr-defined]
    PrefixStore,
    ProcessGroupGloo,
    Store,
    TCPStore,
)

from edgenet.links import adopt
from edgenet.links.cable import Cable
from edgenet.links.handshake import Session, read_exactly
from edgenet.links.sizes import KIB, MAX_FRAME_BYTES

MAC_BYTES = 32
_TERMS = struct.Struct("!IH")
_ADDRESS_BYTES = 4096


_MAKING = threading.Lock()


@dataclass(frozen=True)
class Device:
    """gloo's device: a thread for all links."""

    gloo: Any
    epoll: int
    """Descriptor of what the thread waits on; -1 where gloo connects by itself."""


def device(address: str) -> Device:
    """The process's device, whose listening socket is shut to everybody or else on `address`.
    Raises OSError: it could not be shut."""
    if not adopt.POSSIBLE:
        return Device(ProcessGroupGloo.create_device(hostname=address), -1)
    with _MAKING:  # only one at a time is not sealed, so that `seal` finds the right one
        made = ProcessGroupGloo.create_device(hostname=adopt.GLOO_ADDRESS)
        return Device(made, adopt.seal())


@contextmanager
def open_store(host: str, port: int, prefix: str, *, serve: bool) -> Iterator[PrefixStore]:
    """torch's own key-value store, as torchrun serves it; `serve` it where nobody else does."""
    store = TCPStore(host, port, None, serve, timedelta(seconds=60), wait_for_workers=False)
    yield PrefixStore(prefix, store)


class _Alone(Store):
    """The store of a pair that is led astray: it gets its own words back, with another address."""

    def __init__(self, decoy: adopt.Decoy) -> None:
        super().__init__()
        self._decoy, self._mine = decoy, dict[str, bytes]()

    def set(self, key: str, value: Any) -> None:
        """What this end says of itself."""
        self._mine[key] = bytes(value)

    def get(self, key: str) -> bytes:
        """The same; for the other end's key with the decoy's address."""
        (own,) = self._mine.values()
        return own if key in self._mine else self._decoy.address(own)

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        """Nothing is waited for."""


class Terms(Store):
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
        self.nbytes = len(terms) + MAC_BYTES

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
        if nbytes > _ADDRESS_BYTES or not KIB <= frame_bytes <= MAX_FRAME_BYTES:
            raise ConnectionError("terms out of bounds")
        value = read_exactly(self._sock, nbytes, self._deadline)
        mac = read_exactly(self._sock, MAC_BYTES, self._deadline)
        if not hmac.compare_digest(mac, self._mac(key, head + value)):
            raise ConnectionError("terms that were altered on the way")
        self.peer_frame_bytes = frame_bytes
        return value

    def _mac(self, key: str, terms: bytes) -> bytes:
        return hmac.digest(self._session.token, key.encode() + terms, "sha256")


def adopted(cable: Cable, rank: int, gloo_device: Device, deadline: float) -> Any:
    """A group of two over a connection that stands. Raises RuntimeError, OSError."""
    with adopt.Decoy() as decoy:
        made = group(_Alone(decoy), rank, gloo_device, deadline)
        decoy.adopt(cable.sock, gloo_device.epoll)
    return made


def group(terms: Store, rank: int, gloo_device: Device, deadline: float) -> Any:
    """A group of two whose ends find each other by `terms`. Raises RuntimeError, OSError."""
    options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._devices = [gloo_device.gloo]
    options._threads = 1
    options._timeout = until(deadline)
    return ProcessGroupGloo(terms, rank, 2, options)


def until(deadline: float) -> timedelta:
    """What is left until `deadline` (time.monotonic), as gloo wants it; never nothing."""
    return timedelta(seconds=max(0.001, deadline - time.monotonic()))
