"""A listening socket with a thread for each caller."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_BACKLOG = 1024


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A listening TCP socket; port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


class Listener:
    """Calls `serve` with every connection, each on a thread of its own, until it is closed.

    Args:
        sock: listens already; closed with this object.
        serve: owns the connection that it is given. What it raises of OSError is ignored.
        most_callers: served at one time; more wait, so strangers cannot make threads at will.
    """

    def __init__(
        self, sock: socket.socket, serve: Callable[[socket.socket], None], most_callers: int
    ) -> None:
        self._sock, self._serve = sock, serve
        self._closed = False
        self._room = threading.Semaphore(most_callers)
        self._thread = threading.Thread(target=self._accept_all, name="listener", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        host, port = self._sock.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop listening; conversations that have begun go on."""
        self._closed = True
        # Wakes the thread inside accept; systems that refuse it wake it on close.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join(1.0)

    def _accept_all(self) -> None:
        while not self._closed:
            self._room.acquire()
            try:
                caller, _ = self._sock.accept()
            except OSError:
                if self._closed:
                    return
                self._room.release()
                continue  # a caller that hung up before it was taken
            threading.Thread(target=self._talk, args=(caller,), daemon=True).start()

    def _talk(self, caller: socket.socket) -> None:
        try:
            self._serve(caller)
        except OSError:
            caller.close()
        finally:
            self._room.release()
