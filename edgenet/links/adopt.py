"""Giving gloo a connection of ours in place of one that it made itself.

gloo listens on a port of its own, believes whoever connects there and names a small number, and
ends the process when such a stranger sends nonsense, or when accepting fails because strangers
have used up the file descriptors. It cannot be told to take a connection that is there already.
But it lives with one that it finds under its descriptor:

- its listening socket is closed, and something that never becomes ready is put under its descriptor
  number and registered with gloo's epoll in its place (`seal`), so that nobody ever reaches it;
- each pair is made to connect to a socket of this very process, a moment later (`Decoy`);
- when it stands, and before anything was sent on it, the connection of ours is put under the same
  descriptor number and registered with gloo's epoll just as gloo's was (`Decoy.adopt`).

No right is needed for any of this, but it takes Linux: the epoll's entries are read from /proc.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress

POSSIBLE = sys.platform.startswith("linux")
"""Elsewhere gloo makes its connections itself, and its port is open to whoever reaches it."""

GLOO_ADDRESS = "127.0.0.2"
"""Where gloo listens. It dials whoever has a smaller address than its own."""
_DECOY_ADDRESS = "127.0.0.1"

_LIBC = ctypes.CDLL(None, use_errno=True)
_ADD, _DELETE = 1, 2
_ENTRY = re.compile(r"tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+)")


class _Event(ctypes.Structure):
    """struct epoll_event, which x86-64 packs and others do not."""

    if os.uname().machine == "x86_64":
        _pack_ = 1
        _layout_ = "ms"
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


def seal() -> None:
    """Close the listening sockets of this process's gloo devices. What gloo waits on for callers
    then, and in the end takes off its epoll and closes, is an event that never comes.

    Raises:
        OSError: there is none, or the kernel refuses.
    """
    silent = os.eventfd(0)
    try:
        sealed = [_replace(fd, silent) for fd in list(_sockets()) if _listens_for_gloo(fd)]
    finally:
        os.close(silent)
    if not sealed or not all(sealed):
        raise OSError(f"gloo does not listen on {GLOO_ADDRESS}")


def _replace(fd: int, by: int) -> bool:
    """Put the file of descriptor `by` under the number `fd`, also in the epoll that has `fd`; says
    whether one had."""
    for epoll, number, events, data in _registered():
        if number == fd:
            _control(epoll, _DELETE, fd, None)
            os.dup2(by, fd, inheritable=False)
            _control(epoll, _ADD, fd, _Event(events, data))
            return True
    return False


class Decoy:
    """Where one pair of gloo's is made to connect to. Use it as a context manager."""

    def __init__(self) -> None:
        self._sock = socket.create_server((_DECOY_ADDRESS, 0))
        self._address = self._sock.getsockname()

    def __enter__(self) -> Decoy:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def address(self, own: bytes) -> bytes:
        """What a pair is to be told of its peer, from what it told of itself: the same, but for
        the socket address."""
        at = own.find(socket.inet_aton(GLOO_ADDRESS)) - 2
        if at < 0:
            raise ConnectionError("gloo speaks of addresses in a way that is not known here")
        there = struct.pack("!H", self._address[1]) + socket.inet_aton(_DECOY_ADDRESS)
        return own[:at] + there + own[at + len(there) :]

    def adopt(self, sock: socket.socket) -> None:
        """Put `sock` (connected, silent) under the pair that has connected here; closes `sock`.

        Raises:
            ConnectionError, OSError: the pair was not found; `sock` is left open.
        """
        fd = next((fd for fd in _sockets() if self._is_called_by(fd)), None)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if fd is None or not _replace(fd, sock.fileno()):
            raise ConnectionError("gloo's own connection was not found")
        sock.close()

    def _is_called_by(self, fd: int) -> bool:
        with suppress(OSError), _borrowed(fd) as sock:
            return bool(sock.getpeername() == self._address)
        return False


class _borrowed:
    """A descriptor of somebody else's as a socket object, which leaves it open."""

    def __init__(self, fd: int) -> None:
        self._sock = socket.socket(fileno=fd)

    def __enter__(self) -> socket.socket:
        return self._sock

    def __exit__(self, *_: object) -> None:
        self._sock.detach()


def _listens_for_gloo(fd: int) -> bool:
    with suppress(OSError), _borrowed(fd) as sock:
        there = sock.family == socket.AF_INET and sock.getsockname()[0] == GLOO_ADDRESS
        return there and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
    return False


def _sockets() -> Iterator[int]:
    return (fd for fd, kind in _files() if kind.startswith("socket:"))


def _files() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # of those that other threads have closed since
            yield int(name), os.readlink(f"/proc/self/fd/{name}")


def _registered() -> Iterator[tuple[int, int, int, int]]:
    """Every entry of every epoll of this process: (epoll, descriptor, events, data)."""
    for epoll, kind in _files():
        if kind != "anon_inode:[eventpoll]":
            continue
        with suppress(OSError), open(f"/proc/self/fdinfo/{epoll}", encoding="ascii") as file:
            for fd, events, data in _ENTRY.findall(file.read()):
                yield epoll, int(fd), int(events, 16), int(data, 16)


def _control(epoll: int, operation: int, fd: int, event: _Event | None) -> None:
    reference = None if event is None else ctypes.byref(event)
    if _LIBC.epoll_ctl(epoll, operation, fd, reference) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"epoll_ctl: {os.strerror(error)}")
