"""Mutual proof of the join key, over a plain socket, before anything else is said.

Both ends send a greeting at once; then each sends a proof over both greetings; then each says
whether it agrees. All three are of fixed size, and nothing of a peer is believed before its proof
is right.

    greeting  magic, version of the protocol; nonce; topology digest; names of both ends
    proof     HMAC-SHA256(key, "dialer" or "acceptor" | dialer's greeting | acceptor's greeting)
    verdict   one byte: `Verdict`

The proof covers the nonces of both (no replay), the end it was made at (no reflection), and both
names and digests (no alteration). The session's token, from the same transcript, is
what the ends show each other again on the link that they set up afterwards.
"""

from __future__ import annotations

import enum
import hmac
import secrets
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgenet.errors import JoinRefused, LinkError, LinkTimeout, PeerLost

VERSION = 1
NAME_BYTES = 64
NONCE_BYTES = PROOF_BYTES = 32
_MAGIC = b"EDGE"
_GREETING = struct.Struct(f"!4sHxx{NONCE_BYTES}s32s{NAME_BYTES}s{NAME_BYTES}s")
GREETING_BYTES = _GREETING.size
HANDSHAKE_BYTES = GREETING_BYTES + PROOF_BYTES + 1
"""What a handshake sends in each direction."""


class Taken(JoinRefused):
    """The name is linked already; after a crash only until that has been noticed."""


class Verdict(enum.IntEnum):
    """What one end thinks of the other."""

    WELCOME = 0
    VERSION = 1
    KEY = 2
    TOPOLOGY = 3
    NAME = 4
    TAKEN = 5


_REASONS = {
    Verdict.VERSION: (
        "runs an edgenet that speaks another version of the link protocol",
        "install the same edgenet version on every host",
    ),
    Verdict.KEY: ("does not hold the same join key", "give every node the same EDGENET_KEY"),
    Verdict.TOPOLOGY: (
        "runs another topology, or the same one with other --set options",
        "start every node with the same topology file and options",
    ),
    Verdict.NAME: (
        "is not the node that belongs at the other end",
        "check that no two nodes were started under one name or address",
    ),
    Verdict.TAKEN: (
        "is linked to this node already",
        "check that no two nodes were started under one name",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a node proves to its peers."""

    node: str
    """Its name; at most 64 bytes of UTF-8."""
    key: bytes = field(repr=False)
    """The run's join key."""
    digest: bytes
    """SHA-256 of the resolved topology."""

    def __post_init__(self) -> None:
        if len(self.digest) != 32:
            raise ValueError(f"a topology digest has 32 bytes, not {len(self.digest)}")
        if not self.key:
            raise ValueError("the join key is empty; set EDGENET_KEY")
        _padded(self.node)


@dataclass(frozen=True)
class Session:
    """What both ends know after the handshake."""

    peer: str
    token: bytes = field(repr=False)
    """32 bytes that only these two ends know."""


@dataclass(frozen=True)
class _Greeting:
    raw: bytes
    version: int
    digest: bytes
    node: str
    peer: str
    """Whom it wants to meet; empty in an acceptor's, which does not know who calls."""


class Conversation:
    """One handshake on a connected socket.

    Args:
        sock: connected; left open, also on failure.
        mine: who this end is.
        peer: whom a dialer wants to meet; None at the acceptor.
        deadline: time.monotonic when it must be over.
    """

    def __init__(
        self, sock: socket.socket, mine: Identity, peer: str | None, deadline: float
    ) -> None:
        self._sock, self._mine, self._peer, self._deadline = sock, mine, peer, deadline

    def run(
        self,
        admits: Callable[[str], Verdict] = lambda _: Verdict.WELCOME,
        proven: Callable[[Session], None] = lambda _: None,
    ) -> Session:
        """Prove and demand proof.

        Args:
            admits: an acceptor's opinion of a name whose proof was right.
            proven: called as soon as the other end is welcome here, and before it knows.

        Raises:
            JoinRefused: either end refuses the other; the text says why.
            LinkTimeout, PeerLost: it took too long, or the other end hung up.
        """
        greeting = self._greet()
        theirs = _parse(self._exchange(greeting, GREETING_BYTES))
        if theirs is None:
            raise JoinRefused(self._mine.node, self._called(None), "is no edgenet node")
        first, second = (greeting, theirs.raw) if self._peer else (theirs.raw, greeting)
        roles = (b"dialer", b"acceptor") if self._peer else (b"acceptor", b"dialer")
        proof = self._exchange(self._proof(roles[0], first, second), PROOF_BYTES)
        right = hmac.compare_digest(proof, self._proof(roles[1], first, second))
        verdict = self._judge(theirs, right, admits)
        token = hmac.digest(self._mine.key, b"session" + first + second, "sha256")
        session = Session(theirs.node, token)
        if verdict is Verdict.WELCOME:
            proven(session)
        answer = self._exchange(bytes((verdict,)), 1)[0]
        self._conclude(verdict, answer, theirs)
        return session

    def _greet(self) -> bytes:
        return _GREETING.pack(
            _MAGIC,
            VERSION,
            secrets.token_bytes(NONCE_BYTES),
            self._mine.digest,
            _padded(self._mine.node),
            _padded(self._peer or ""),
        )

    def _proof(self, role: bytes, first: bytes, second: bytes) -> bytes:
        return hmac.digest(self._mine.key, role + first + second, "sha256")

    def _judge(self, theirs: _Greeting, right: bool, admits: Callable[[str], Verdict]) -> Verdict:
        if theirs.version != VERSION:
            return Verdict.VERSION
        if not right:
            return Verdict.KEY
        if theirs.digest != self._mine.digest:
            return Verdict.TOPOLOGY
        expected = theirs.node == self._peer if self._peer else theirs.peer == self._mine.node
        return admits(theirs.node) if expected else Verdict.NAME

    def _conclude(self, verdict: Verdict, answer: int, theirs: _Greeting) -> None:
        called = self._called(theirs)
        if verdict is not Verdict.WELCOME:
            what, remedy = _REASONS[verdict]
            refusal = Taken if verdict is Verdict.TAKEN else JoinRefused
            raise refusal(self._mine.node, called, what, remedy=remedy)
        if answer in list(Verdict)[1:]:
            what, remedy = _REASONS[Verdict(answer)]
            what = f"refused this node, of which it says: it {what}"
            refusal = Taken if answer == Verdict.TAKEN else JoinRefused
            raise refusal(self._mine.node, called, what, remedy=remedy)
        if answer != Verdict.WELCOME:
            raise JoinRefused(self._mine.node, called, f"refused this node with code {answer}")

    def _called(self, theirs: _Greeting | None) -> str:
        """The peer's name for messages: what a stranger calls itself is quoted."""
        if self._peer:
            return self._peer
        return repr(theirs.node) if theirs else "a stranger"

    def _exchange(self, mine: bytes, nbytes: int) -> bytes:
        peer = self._peer or "a joining node"
        try:
            self._sock.settimeout(max(0.001, self._deadline - time.monotonic()))
            self._sock.sendall(mine)
            return read_exactly(self._sock, nbytes, self._deadline)
        except TimeoutError:
            what = "did not finish the handshake in time"
            raise LinkTimeout(self._mine.node, peer, what, remedy="raise faults.join") from None
        except OSError as error:
            raise self._lost(peer, error) from None

    def _lost(self, peer: str, error: OSError) -> LinkError:
        return PeerLost(self._mine.node, peer, f"hung up during the handshake ({error})")


def read_exactly(sock: socket.socket, nbytes: int, deadline: float) -> bytes:
    """`nbytes` from a socket. Raises TimeoutError after `deadline`, OSError at its end."""
    parts = bytearray()
    while len(parts) < nbytes:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        part = sock.recv(nbytes - len(parts))
        if not part:
            raise ConnectionError("end of stream")
        parts += part
    return bytes(parts)


def _padded(name: str) -> bytes:
    raw = name.encode()
    if len(raw) > NAME_BYTES or "\0" in name:
        raise ValueError(f"'{name}' is no node name: at most {NAME_BYTES} bytes, no zero byte")
    return raw


def _parse(raw: bytes) -> _Greeting | None:
    magic, version, _, digest, node, peer = _GREETING.unpack(raw)
    try:
        names = [name.rstrip(b"\0").decode() for name in (node, peer)]
    except UnicodeDecodeError:
        return None
    return _Greeting(raw, version, digest, *names) if magic == _MAGIC else None
