"""Conversations with somebody who has said all of it already: what the fuzzed targets talk to."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from edgenet.links import cable, handshake
from edgenet.links import rendezvous as table
from edgenet.links.cable import Cables
from edgenet.links.handshake import Conversation, Identity, Session

_FRAME_BYTES = 4096
_NEVER = 1e9
"""time.monotonic of a deadline that does not come."""
_KEY = b"the key of the fuzzed run"
_BELIEVED = "somebody else was believed"


class _Script:
    """A socket at whose other end somebody has said all that he will ever say."""

    def __init__(self, said: bytes) -> None:
        self._script, self._at = said, 0
        self.said = bytearray()

    def recv(self, nbytes: int, flags: int = 0) -> bytes:
        part = self._script[self._at : self._at + nbytes]
        self._at += len(part)
        return part

    def sendall(self, data: bytes) -> None:
        self.said += data

    def settimeout(self, seconds: float) -> None:
        """It never waits."""

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> _Script:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def known_nonces() -> Iterator[None]:
    """Nonces of zeros, so that recorded conversations are right."""
    modules = [vars(module) for module in (handshake, table)]
    try:
        for names in modules:
            names["secrets"] = SimpleNamespace(token_bytes=bytes)
        yield
    finally:
        for names in modules:
            names["secrets"] = secrets


def _identity(node: str) -> Identity:
    return Identity(node=node, key=_KEY, digest=bytes(32))


def conversation(node: str, peer: str | None, true: bytes, data: bytes) -> None:
    """One end of a handshake hears `data`; `true` is what it may believe."""
    script: Any = _Script(data)
    with known_nonces():
        Conversation(script, _identity(node), peer, _NEVER).run()
    assert data[: len(true)] == true, _BELIEVED


def _recorded() -> tuple[bytes, bytes]:
    """What a dialer 'p1' and an acceptor 'hub' say to each other, with known nonces."""
    with known_nonces():
        ends = [
            Conversation(cast(Any, _Script(b"")), _identity(node), peer, _NEVER)
            for node, peer in (("p1", "hub"), ("hub", None))
        ]
        dialer, acceptor = (end._greet() for end in ends)
        said = (
            dialer + ends[0]._proof(b"dialer", dialer, acceptor) + b"\0",
            acceptor + ends[1]._proof(b"acceptor", dialer, acceptor) + b"\0",
        )
    return said


DIALER, ACCEPTOR = _recorded()
_SESSION = Session("p1", bytes(range(32)))


def opening(data: bytes) -> None:
    """An acceptor hears `data` as the opening of a second connection."""
    script: Any = _Script(data)
    cables = Cables()
    with cables.expected(_SESSION, _FRAME_BYTES) as take:
        cables.arrive(script, _NEVER)
        take(0.0)
    assert data[: len(OPENED)] == OPENED, _BELIEVED


OPENED = cable._opening("dialer", _SESSION, _FRAME_BYTES)


def request(data: bytes) -> None:
    """The rendezvous hears `data`."""
    script: Any = _Script(data)
    proven: list[bool] = []
    with known_nonces():
        _SERVER._serve(script, lambda: proven.append(True))
    assert _SERVER._table in ({}, {"hub": b"127.0.0.1 4000"}), _BELIEVED
    assert len(script.said) < 1024


class _Table(table.RendezvousServer):
    """A table that nobody can reach."""

    def __init__(self) -> None:
        self._key, self._table, self._changed = _KEY, {}, threading.Condition()


_SERVER = _Table()
_CLIENT = table.Rendezvous("127.0.0.1", 1, _KEY)
_BODY = table._REQUEST.pack(1, 3, 14) + b"hub" + b"127.0.0.1 4000"


def requested() -> bytes:
    """What a member says to the rendezvous."""
    nonces = bytes(64)
    proof = table._proof(_KEY, b"request", nonces, _BODY)
    return b"EDGR" + nonces[:32] + _BODY + proof


def answered() -> bytes:
    """What the rendezvous answers."""
    answer = table._ANSWER.pack(0, 14) + b"127.0.0.1 4000"
    return bytes(32) + answer + table._proof(_KEY, b"answer", bytes(64), _BODY + answer)


def answer(data: bytes) -> None:
    """A member who asks the rendezvous hears `data`."""
    script: Any = _Script(data)
    with known_nonces():
        _CLIENT._talk(script, _BODY)
    true = answered()
    assert data[: len(true)] == true, _BELIEVED
