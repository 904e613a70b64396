"""A listening socket that strangers may call, and what one of them may cost.

A caller gets no thread, no memory of ours and no answer before its first message, of a fixed
length, has arrived complete: until then it is a socket in the kernel. Who says less than that, or
does not prove within a moment who it is, is hung up on as soon as somebody else needs its place;
and callers beyond a rate wait in the kernel, so that answering them cannot slow a node down.
"""

from __future__ import annotations

import math
import os
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

_BACKLOG = 1024
_TICK_S = 0.25
_GATHER_S = 0.02
"""A listener wakes no more often than this, however many call."""
_FEW_FILES_S = 0.1
"""Pause after the system refused a connection (no file descriptor left), before the next try."""

Serve = Callable[[socket.socket, Callable[[], None]], None]
"""Owns the connection that it is given; calls the second argument once the caller has proven who
it is, from where on the caller is not a stranger any more. What it raises of OSError is ignored."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much of a listener strangers may use."""

    first_bytes: int
    """Length of a caller's first message; nothing is done for a caller before it is there."""
    silent: int = 256
    """Callers that have not said that much; each costs a file descriptor. For one more, the oldest
    is hung up on, of the address that has the most."""
    patience_s: float = 5.0
    """How long a caller may take over its first message."""
    talking: int = 64
    """Callers with a thread that have not proven who they are."""
    grace_s: float = 1.0
    """How long such a caller keeps its place when another waits for it."""
    burst: int = 1024
    """So many callers are taken as fast as they come, ..."""
    per_s: float = 100.0
    """... and beyond them so many a second."""


@dataclass
class _Caller:
    sock: socket.socket
    address: str
    since: float


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A listening TCP socket; port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


class Listener:
    """Calls `serve` with every caller that has said enough, each on a thread of its own, until it
    is closed.

    Args:
        sock: listens already; closed with this object.
        serve: see `Serve`.
        bounds: what strangers may use.
    """

    def __init__(self, sock: socket.socket, serve: Serve, bounds: Bounds) -> None:
        self._sock, self._serve, self._bounds = sock, serve, bounds
        self._closed = False
        self._silent: dict[int, _Caller] = {}
        self._talking: dict[int, _Caller] = {}
        self._lock = threading.Lock()
        self._tokens, self._counted_at = float(bounds.burst), time.monotonic()
        self._woke_at = -math.inf
        self._wakeup = os.pipe()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        host, port = self._sock.getsockname()[:2]
        return host, port

    def close(self) -> None:
        """Stop listening; conversations that have begun go on."""
        if self._closed:
            return
        self._closed = True
        with suppress(BrokenPipeError):  # its thread was awake, and has seen it by itself
            os.write(self._wakeup[1], b"\0")
        self._thread.join(1.0)
        os.close(self._wakeup[1])

    def _run(self) -> None:
        self._sock.setblocking(False)
        with selectors.DefaultSelector() as selector, self._sock:
            selector.register(self._wakeup[0], selectors.EVENT_READ)
            selector.register(self._sock, selectors.EVENT_READ)
            while not self._closed:
                pause_s = self._pause_s()
                _watch(selector, self._sock, pause_s == 0.0)
                for key, _ in selector.select(pause_s or (_TICK_S if self._silent else None)):
                    if key.fileobj is self._sock:
                        self._accept_all(selector)
                    elif key.fd in self._silent and not self._crowded():
                        self._promote(selector, key.fd)
                self._forget(selector, time.monotonic() - self._bounds.patience_s)
                self._rest()
            self._forget(selector, float("inf"))
        os.close(self._wakeup[0])

    def _pause_s(self) -> float:
        """0 if another caller may be taken now, or how long none should be."""
        now, bounds = time.monotonic(), self._bounds
        earned = (now - self._counted_at) * bounds.per_s
        self._tokens, self._counted_at = min(float(bounds.burst), self._tokens + earned), now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / bounds.per_s
        return self._make_room(now) if self._crowded() else 0.0

    def _crowded(self) -> bool:
        """Whether nobody more may talk before somebody has proven himself, or gone."""
        with self._lock:
            return len(self._talking) >= self._bounds.talking

    def _make_room(self, now: float) -> float:
        """Hang up on the strangers who have talked for too long; seconds until one may go."""
        with self._lock:
            talking = list(self._talking.values())
        for caller in talking:
            if now - caller.since >= self._bounds.grace_s:
                with suppress(OSError):
                    caller.sock.shutdown(socket.SHUT_RDWR)  # its thread does the rest
        return _TICK_S / 10

    def _rest(self) -> None:
        """Let those gather who come one after the other. To be woken costs the node more than what
        most callers are worth."""
        now = time.monotonic()
        early_s = max(0.0, self._woke_at + _GATHER_S - now)
        self._woke_at = now + early_s
        if early_s and not self._closed:
            time.sleep(early_s)

    def _accept_all(self, selector: selectors.BaseSelector) -> None:
        """Take those who wait, as far as the rate allows."""
        while self._tokens >= 1.0 and self._accept(selector):
            pass

    def _accept(self, selector: selectors.BaseSelector) -> bool:
        """Take one caller; whether there was one."""
        try:
            sock, address = self._sock.accept()
        except BlockingIOError:
            return False
        except OSError:  # it hung up before it was taken, or no file descriptor is left
            self._tokens -= _FEW_FILES_S * self._bounds.per_s
            return False
        self._tokens -= 1.0
        if len(self._silent) >= self._bounds.silent:
            self._drop(selector, self._oldest())
        # The selector shall tell of it when its whole first message is there, or its end.
        _wait_for(sock, self._bounds.first_bytes)
        self._silent[sock.fileno()] = _Caller(sock, address[0], time.monotonic())
        selector.register(sock, selectors.EVENT_READ)
        return True

    def _oldest(self) -> int:
        """Of the address with the most silent callers, the one that has been so for longest."""
        most, _ = Counter(caller.address for caller in self._silent.values()).most_common(1)[0]
        return next(fd for fd, caller in self._silent.items() if caller.address == most)

    def _drop(self, selector: selectors.BaseSelector, fd: int) -> None:
        caller = self._silent.pop(fd)
        selector.unregister(caller.sock)
        caller.sock.close()

    def _forget(self, selector: selectors.BaseSelector, before: float) -> None:
        for fd, caller in list(self._silent.items()):
            if caller.since > before:
                return  # they stand in the order in which they came
            self._drop(selector, fd)

    def _promote(self, selector: selectors.BaseSelector, fd: int) -> None:
        """Give a caller that has said something a thread, or hang up if it said too little."""
        caller = self._silent.pop(fd)
        selector.unregister(caller.sock)
        if not _has(caller.sock, self._bounds.first_bytes):
            caller.sock.close()
            return
        caller.since = time.monotonic()
        _wait_for(caller.sock, 1)
        with self._lock:
            self._talking[fd] = caller
        try:
            threading.Thread(target=self._talk, args=(caller, fd), daemon=True).start()
        except RuntimeError:  # the system gives no more threads; who is honest calls again
            caller.sock.close()
            self._proven(caller, fd)

    def _talk(self, caller: _Caller, fd: int) -> None:
        try:
            self._serve(caller.sock, lambda: self._proven(caller, fd))
        except OSError:
            caller.sock.close()
        finally:
            self._proven(caller, fd)

    def _proven(self, caller: _Caller, fd: int) -> None:
        """It is no stranger any more, or it is gone and its number another's."""
        with self._lock:
            if self._talking.get(fd) is caller:
                del self._talking[fd]


def _wait_for(sock: socket.socket, nbytes: int) -> None:
    """Have a socket count as readable from so many bytes on."""
    with suppress(OSError):  # it is gone already, which will be noticed
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, nbytes)


def _watch(selector: selectors.BaseSelector, sock: socket.socket, wanted: bool) -> None:
    if wanted and sock not in selector.get_map():
        selector.register(sock, selectors.EVENT_READ)
    elif not wanted and sock in selector.get_map():
        selector.unregister(sock)


def _has(sock: socket.socket, nbytes: int) -> bool:
    """Whether so many bytes can be read without waiting."""
    try:
        return len(sock.recv(nbytes, socket.MSG_PEEK | socket.MSG_DONTWAIT)) == nbytes
    except OSError:
        return False
