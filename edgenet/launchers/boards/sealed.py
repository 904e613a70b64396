"""A conversation of JSON lines over a socket, each of them under the key of the session.

A line is the hexadecimal HMAC-SHA256 (session's token; the speaker, the line's number, the object),
a space and the object: nobody on the way can change, leave out, repeat or insert one unnoticed. It
is not encrypted: who must hide a topology uses WireGuard.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgenet.errors import EdgenetError, InputError
from edgenet.launchers.boards.hosts import Board
from edgenet.launchers.boards.wires import SILENCE_S, BoardError, Talk
from edgenet.launchers.lines import LineReader
from edgenet.links.handshake import Conversation, Identity

DEPLOYMENT, AGENT = "deployment", "agent"
"""Who speaks."""
HANDSHAKE_S = 5.0
_PURPOSE = hashlib.sha256(b"edgenet agent 1").digest()
_CONNECT_S = 10.0


def cluster_key(secret: str) -> bytes:
    """The key of a cluster from its secret. Another one than the links' of the same secret."""
    return hashlib.sha256(f"edgenet agent key\0{secret}".encode()).digest()


def run_key(cluster: bytes, salt: str) -> str:
    """A run's join key: all that hold the cluster's can make it, so that it is never sent."""
    return hmac.new(cluster, f"run\0{salt}".encode(), "sha256").hexdigest()


class SealedLines(LineReader):
    """A `Wire` over a socket.

    Args:
        sock: connected; closed with this object.
        token: of the session.
        mine: DEPLOYMENT or AGENT: what this end is.
    """

    def __init__(self, sock: socket.socket, token: bytes, mine: str) -> None:
        sock.settimeout(SILENCE_S)  # for a peer that does not read
        super().__init__(sock.fileno())
        self._sock, self._token, self._lock = sock, token, threading.Lock()
        self._mine, self._theirs = mine, AGENT if mine == DEPLOYMENT else DEPLOYMENT
        self._sent = self._heard = 0
        self.forged = False
        """A line came that the other end did not write."""

    def send(self, **fields: Any) -> None:
        """As in `Wire`. A peer that takes nothing for `SILENCE_S` is as good as gone."""
        data = json.dumps(fields).encode()
        with self._lock:
            if self.ended:
                return
            seal = self._seal(self._mine, self._sent, data)
            self._sent += 1
            try:
                self._sock.sendall(seal + b" " + data + b"\n")
            except TimeoutError:  # in the middle of a line: nothing can follow it
                self.ended = True
                self.hang_up()
            except OSError:
                return  # what the peer had said before is still to be read, and then its end

    def read(self) -> list[dict[str, Any]]:
        """As in `LineReader`; a connection that was reset has ended."""
        try:
            return super().read()
        except OSError:
            self.ended = True
            return []

    def decode(self, line: bytes) -> list[dict[str, Any]]:
        """The object in a line; the first forged one ends the conversation."""
        seal, _, data = line.partition(b" ")
        if self.ended or not hmac.compare_digest(seal, self._seal(self._theirs, self._heard, data)):
            self.forged, self.ended = self.forged or not self.ended, True
            return []
        self._heard += 1
        found = json.loads(data)
        return [found] if isinstance(found, dict) else []

    def why(self) -> str:
        """How it ended."""
        return "its agent hung up" + (" after a forged line" if self.forged else "")

    def hang_up(self) -> None:
        """End the conversation; any thread may."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up, and give the socket back."""
        self.hang_up()
        self.ended = True
        self._sock.close()

    def _seal(self, speaker: str, number: int, data: bytes) -> bytes:
        said = f"{speaker}\0{number}\0".encode() + data
        return hmac.new(self._token, said, "sha256").hexdigest().encode()


class AgentCall(Talk):
    """A conversation with the agent of a board, which ends what it does when it is hung up.

    Args:
        board: whose.
        key: of the cluster.

    Raises:
        BoardError: nobody is there, or it does not hold the key.
    """

    def __init__(self, board: Board, key: bytes) -> None:
        host, _, port = board.agent.rpartition(":")
        try:
            sock = socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S)
        except OSError as error:
            why = error.strerror or str(error)
            raise BoardError(f"its agent at {board.agent} cannot be reached ({why})") from None
        try:
            deadline = time.monotonic() + _CONNECT_S
            mine = Identity(node=DEPLOYMENT, key=key, digest=_PURPOSE)
            session = Conversation(sock, mine, AGENT, deadline).run()
        except EdgenetError:
            sock.close()
            raise BoardError(
                f"its agent at {board.agent} holds another key; give both the same key file"
            ) from None
        wire = SealedLines(sock, session.token, DEPLOYMENT)
        super().__init__(board, wire, wire.why, wire.hang_up, wire.close)


def answer(sock: socket.socket, key: bytes, proven: Callable[[], None]) -> SealedLines:
    """An agent's end of a conversation, once the caller has proven that it holds the key.

    Args:
        sock: connected.
        key: of the cluster.
        proven: called as soon as it has.

    Raises:
        LinkError: it did not.
    """
    mine = Identity(node=AGENT, key=key, digest=_PURPOSE)
    deadline = time.monotonic() + HANDSHAKE_S
    session = Conversation(sock, mine, None, deadline).run(proven=lambda _: proven())
    return SealedLines(sock, session.token, AGENT)


def read_key(path: Path) -> bytes:
    """The cluster's key from a file that holds its secret.

    Raises:
        InputError: it cannot be read, is too short to be a secret, or is for everybody to read.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise InputError(
            f"{path}: {reason.lower()}; make a key file by `openssl rand -hex 32 > {path}` and "
            "give it to every board"
        ) from None
    if len(secret) < 16:
        raise InputError(f"{path}: a key has at least 16 characters; make one by openssl rand")
    if mode & 0o077:
        raise InputError(f"{path}: others may read it; chmod 600 {path}")
    return cluster_key(secret)
