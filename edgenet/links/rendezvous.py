"""Where nodes find each other: a table of names and addresses, served by the launcher or rank 0.

It also holds short notes that nodes leave for each other before they play (`note`).

It is only a directory. Whoever can reach it may write to it, as with torch's TCPStore, and so it is
not trusted: that the node at an address is the one it claims to be is proven on the connection to
it (`handshake`). TCPStore itself is not used, because it looks up every peer's name in
reverse DNS, one after the other; where a name server drops requests each costs five seconds (a
hundred links took 35 s here, and take 0.1 s this way).

A request is one connection: `<BHH` operation, bytes of the name, bytes of the value; name; value
(an address to publish, or for how many milliseconds to wait for one). The answer is `<H` bytes of
the address (0: none), address.
"""

from __future__ import annotations

import socket
import struct
import threading
import time

from edgenet.errors import NodeError
from edgenet.links.handshake import NAME_BYTES, read_exactly
from edgenet.links.listener import Listener, listen

_REQUEST = struct.Struct("<BHH")
_ANSWER = struct.Struct("<H")
_PUBLISH, _LOOK_UP = 1, 2
_MOST_NAMES = 10_000
_MOST_CALLERS = 4096
"""More than there are nodes: look-ups that wait must not keep out whom they wait for."""
_VALUE_BYTES = 256
_PATIENCE_S = 5.0
"""How long a caller may take over its request, and how long one look-up waits at the server."""
_RETRY_S = 0.05


class RendezvousServer:
    """Serves the table until it is closed; use it as a context manager.

    Args:
        listener: a socket that listens already (a launcher binds it before it forks); None binds
            any free port of the loopback.
    """

    def __init__(self, listener: socket.socket | None = None) -> None:
        self._table: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._listener = Listener(listener or listen(), self._serve, _MOST_CALLERS)

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

    def _serve(self, caller: socket.socket) -> None:
        with caller:
            deadline = time.monotonic() + _PATIENCE_S
            request = read_exactly(caller, _REQUEST.size, deadline)
            operation, name_bytes, value_bytes = _REQUEST.unpack(request)
            if name_bytes > NAME_BYTES or value_bytes > _VALUE_BYTES:
                return
            name = read_exactly(caller, name_bytes, deadline).decode(errors="replace")
            value = read_exactly(caller, value_bytes, deadline)
            if operation == _PUBLISH:
                answer = self._publish(name, value)
            else:
                answer = self._look_up(name, _milliseconds(value))
            caller.sendall(_ANSWER.pack(len(answer)) + answer)

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
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port

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
        while True:
            try:
                return self._ask_once(
                    _REQUEST.pack(operation, len(name), len(value)) + name + value
                )
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise NodeError(
                        f"{self._where} does not answer ({error}); check that the launcher, or "
                        "rank 0, runs and can be reached from this host"
                    ) from None
                time.sleep(_RETRY_S)

    def _ask_once(self, request: bytes) -> bytes:
        with socket.create_connection(self._server, timeout=_PATIENCE_S) as sock:
            sock.sendall(request)
            deadline = time.monotonic() + 2 * _PATIENCE_S
            (nbytes,) = _ANSWER.unpack(read_exactly(sock, _ANSWER.size, deadline))
            return read_exactly(sock, nbytes, deadline)


def _milliseconds(text: bytes) -> float:
    """A look-up's wait in seconds, within the server's patience."""
    return min(_PATIENCE_S, int(text) / 1000) if text.isdigit() and len(text) < 8 else 0.0
