"""Where nodes find each other: a table of names and addresses, served by the launcher or rank 0.

It also holds short notes that nodes leave for each other before they play (`note`).

Both ends prove with the run's join key, over nonces of both, every word that they say: nobody
without the key can write into the table or read it, and what a caller is told is what a member
wrote. That the node at an address is the one it claims to be is proven once more on the connection
to it (`handshake`). TCPStore is not used, because it knows no key, and looks up every peer's name
in reverse DNS, one after the other; where a name server drops requests each costs five seconds (a
hundred links took 35 s here, and take 0.1 s this way).

A request is one connection. HMAC is HMAC-SHA256 with the key, over a label, both nonces and all
that the row says before it; of an answer over the request, too.

| who | says |
| --- | --- |
| caller | `EDGR`, nonce of 32 bytes |
| server | nonce of 32 bytes |
| caller | `<BHH` operation, bytes of the name, bytes of the value; name; value; HMAC |
| server | `<BH` verdict (0 right, 1 another key), bytes of the value (0: none); value; HMAC |

A value is an address to publish, a note, or for how many milliseconds to wait for one.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable

from edgenet.errors import NodeError
from edgenet.links.handshake import NAME_BYTES, NONCE_BYTES, PROOF_BYTES, read_exactly
from edgenet.links.listener import Bounds, Listener, listen

_MAGIC = b"EDGR"
_REQUEST = struct.Struct("<BHH")
_ANSWER = struct.Struct("<BH")
_PUBLISH, _LOOK_UP = 1, 2
_RIGHT, _OTHER_KEY = 0, 1
_MOST_NAMES = 10_000
_VALUE_BYTES = 256
_PATIENCE_S = 5.0
"""How long a caller may take over its request, and how long one look-up waits at the server."""
_RETRY_S = 0.05
_BOUNDS = Bounds(first_bytes=len(_MAGIC) + NONCE_BYTES, silent=1024, burst=8192, per_s=500.0)
"""Every node calls several times; a look-up that waits has proven itself and takes no place."""


class RendezvousServer:
    """Serves the table until it is closed; use it as a context manager.

    Args:
        key: the run's join key.
        listener: a socket that listens already (a launcher binds it before it forks); None binds
            any free port of the loopback.
    """

    def __init__(self, key: bytes, listener: socket.socket | None = None) -> None:
        self._key = key
        self._table: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._listener = Listener(listener or listen(), self._serve, _BOUNDS)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self._listener.address

    def close(self) -> None:
        """Stop serving."""
        self._listener.close()

    def __enter__(self) -> RendezvousServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, caller: socket.socket, proven: Callable[[], None]) -> None:
        with caller:
            deadline = time.monotonic() + _PATIENCE_S
            hello = read_exactly(caller, _BOUNDS.first_bytes, deadline)
            if not hello.startswith(_MAGIC):
                return
            nonces = hello[len(_MAGIC) :] + secrets.token_bytes(NONCE_BYTES)
            caller.sendall(nonces[NONCE_BYTES:])
            head = read_exactly(caller, _REQUEST.size, deadline)
            operation, name_bytes, value_bytes = _REQUEST.unpack(head)
            if name_bytes > NAME_BYTES or value_bytes > _VALUE_BYTES:
                return
            body = head + read_exactly(caller, name_bytes + value_bytes, deadline)
            proof = read_exactly(caller, PROOF_BYTES, deadline)
            if not hmac.compare_digest(proof, _proof(self._key, b"request", nonces, body)):
                caller.sendall(_ANSWER.pack(_OTHER_KEY, 0) + bytes(PROOF_BYTES))
                return
            proven()
            name = body[_REQUEST.size :][:name_bytes].decode(errors="replace")
            value = self._obey(operation, name, body[_REQUEST.size + name_bytes :])
            answer = _ANSWER.pack(_RIGHT, len(value)) + value
            caller.sendall(answer + _proof(self._key, b"answer", nonces, body + answer))

    def _obey(self, operation: int, name: str, value: bytes) -> bytes:
        if operation == _PUBLISH:
            return self._publish(name, value)
        return self._look_up(name, _milliseconds(value))

    def _publish(self, name: str, value: bytes) -> bytes:
        with self._changed:
            if name not in self._table and len(self._table) >= _MOST_NAMES:
                return b""
            if "/" in name and name in self._table:
                return self._table[name]  # all shall read the same note
            self._table[name] = value
            self._changed.notify_all()
            return value

    def _look_up(self, name: str, wait_s: float) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: name in self._table, wait_s)
            return self._table.get(name, b"")


class Rendezvous:
    """A node's view of the table. Safe to use from several threads.

    Args:
        host: of the server.
        port: of the server.
        key: the run's join key.

    Everything that asks raises NodeError when nobody serves, or somebody with another key does.
    """

    def __init__(self, host: str, port: int, key: bytes) -> None:
        self._server, self._key = (host, port), key

    def publish(self, node: str, address: tuple[str, int], *, timeout_s: float = 30.0) -> None:
        """Tell under which address `node` is reached. Raises NodeError: nobody serves."""
        host, port = address
        self._ask(_PUBLISH, node, f"{host} {port}".encode(), time.monotonic() + timeout_s)

    def look_up(self, node: str, *, timeout_s: float) -> tuple[str, int] | None:
        """The address of `node`, waited for; None if it was not published in time.

        Raises:
            NodeError: nobody serves, or what is served is no address.
        """
        value = self.noted(node, timeout_s=timeout_s)
        if not value:
            return None
        host, _, port = value.decode(errors="replace").rpartition(" ")
        if not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise NodeError(f"{self._where} gives '{value!r}' as the address of {node}")
        return host, int(port)

    def note(self, key: str, value: bytes, *, timeout_s: float = 30.0) -> None:
        """Leave something for all to read, at most 256 bytes; the first note under a key stays.
        The key is no node's name: it has a '/' in it. Raises NodeError: nobody serves."""
        self._ask(_PUBLISH, key, value, time.monotonic() + timeout_s)

    def noted(self, key: str, *, timeout_s: float) -> bytes:
        """What was noted under a key, waited for; empty if nothing was in time. Raises NodeError:
        nobody serves."""
        deadline = time.monotonic() + timeout_s
        while True:
            wait_s = min(_PATIENCE_S, max(0.0, deadline - time.monotonic()))
            value = self._ask(_LOOK_UP, key, b"%d" % (wait_s * 1000), deadline)
            if value or time.monotonic() >= deadline:
                return value

    @property
    def _where(self) -> str:
        return "the rendezvous at {}:{}".format(*self._server)

    def _ask(self, operation: int, node: str, value: bytes, deadline: float) -> bytes:
        name = node.encode()
        body = _REQUEST.pack(operation, len(name), len(value)) + name + value
        while True:
            try:
                return self._ask_once(body)
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise NodeError(
                        f"{self._where} does not answer ({error}); check that the launcher, or "
                        "rank 0, runs and can be reached from this host"
                    ) from None
                time.sleep(_RETRY_S)

    def _ask_once(self, body: bytes) -> bytes:
        with socket.create_connection(self._server, timeout=_PATIENCE_S) as sock:
            return self._talk(sock, body)

    def _talk(self, sock: socket.socket, body: bytes) -> bytes:
        deadline = time.monotonic() + 2 * _PATIENCE_S
        nonce = secrets.token_bytes(NONCE_BYTES)
        sock.sendall(_MAGIC + nonce)
        nonces = nonce + read_exactly(sock, NONCE_BYTES, deadline)
        sock.sendall(body + _proof(self._key, b"request", nonces, body))
        head = read_exactly(sock, _ANSWER.size, deadline)
        verdict, nbytes = _ANSWER.unpack(head)
        if nbytes > _VALUE_BYTES:
            raise ConnectionError("it is no rendezvous of edgenet")
        answer = head + read_exactly(sock, nbytes, deadline)
        proof = read_exactly(sock, PROOF_BYTES, deadline)
        right = _proof(self._key, b"answer", nonces, body + answer)
        if verdict != _RIGHT or not hmac.compare_digest(proof, right):
            raise NodeError(
                f"{self._where} does not hold the same join key; give every node the same "
                "EDGENET_KEY"
            )
        return answer[_ANSWER.size :]


def _proof(key: bytes, label: bytes, nonces: bytes, said: bytes) -> bytes:
    return hmac.digest(key, b"rendezvous " + label + nonces + said, "sha256")


def _milliseconds(text: bytes) -> float:
    """A look-up's wait in seconds, within the server's patience."""
    return min(_PATIENCE_S, int(text) / 1000) if text.isdigit() and len(text) < 8 else 0.0
